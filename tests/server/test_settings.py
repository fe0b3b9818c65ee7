"""Settings that would not be safe are refused in one line."""

from __future__ import annotations

import pytest

from msedge.errors import ConfigError
from msedge.server.settings import ServerSettings, cores, host_name, is_loopback

TOKEN = "0123456789abcdef"


class TestAddress:
    def test_alone_it_is_this_machine_s(self):
        settings = ServerSettings()
        assert (settings.host, settings.token) == ("127.0.0.1", None)
        assert settings.host_names == {"localhost", "127.0.0.1", "::1"}
        assert settings.searches_at_once == cores() >= 1

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
    def test_this_machine_s_need_no_token(self, host):
        assert is_loopback(host)
        assert host in ServerSettings(host=host).host_names

    @pytest.mark.parametrize(
        "host",
        ["0.0.0.0", "::", "", "192.168.1.5", "8.8.8.8", "box.lan", "127.0.0.1.evil", "127.1"],
    )
    def test_all_others_do(self, host):
        with pytest.raises(ConfigError, match="--token") as told:
            ServerSettings(host=host)
        assert "\n" not in str(told.value)
        ServerSettings(host=host, token=TOKEN)

    def test_names_that_a_request_may_use(self):
        settings = ServerSettings(
            host="Box.lan", token=TOKEN, allowed_hosts=("Photos.example.org", "[fe80::1]")
        )
        own = {"localhost", "127.0.0.1", "::1"}
        assert settings.host_names == own | {"box.lan", "photos.example.org", "fe80::1"}
        assert ServerSettings(host="0.0.0.0", token=TOKEN).host_names == own

    @pytest.mark.parametrize("name", ["", "*", "a b", "http://x", "x:80", "x/y", "a\nb", "-"])
    def test_what_is_no_name_is_refused(self, name):
        with pytest.raises(ConfigError, match="not a host name") as told:
            ServerSettings(allowed_hosts=(name,))
        assert "\n" not in str(told.value)


class TestToken:
    def test_is_never_shown(self):
        assert TOKEN not in repr(ServerSettings(token=TOKEN))

    @pytest.mark.parametrize(
        "token", ["", "short", "fifteen-letters", "with a space in it", "é" * 20]
    )
    def test_weak_ones_are_refused_and_not_repeated(self, token):
        with pytest.raises(ConfigError, match="16 characters") as told:
            ServerSettings(token=token)
        assert not token or token not in str(told.value)


class TestLimits:
    @pytest.mark.parametrize("name", ["max_body_bytes", "max_pixels", "searches_at_once"])
    def test_at_least_one(self, name):
        with pytest.raises(ConfigError, match=name):
            ServerSettings(**{name: 0})

    def test_none_may_wait(self):
        assert ServerSettings(searches_waiting=0).searches_waiting == 0
        with pytest.raises(ConfigError, match="searches_waiting"):
            ServerSettings(searches_waiting=-1)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8765", "localhost"),
        ("127.0.0.1:", "127.0.0.1"),
        ("[::1]:8765", "::1"),
        ("::1", None),
        ("", None),
        ("localhost:port", None),
        ("localhost:123456", None),
        ("user@localhost", None),
        ("localhost, evil.com", None),
        ("localhost.", None),
        ("localhost/evil.com", None),
        ("local\x00host", None),
        ("localhost\n", None),
    ],
)
def test_host_headers(header, name):
    assert host_name(header) == name
