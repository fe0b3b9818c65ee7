"""Settings that would not be safe are refused in one line."""

from __future__ import annotations

import pytest

from msedge.errors import ConfigError
from msedge.server.settings import (
    ServerSettings,
    cores,
    host_and_port,
    host_name,
    is_loopback,
    settings_for,
)

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
    @pytest.mark.parametrize(
        "name",
        [
            "max_body_bytes",
            "max_bodies_bytes",
            "max_pixels",
            "searches_at_once",
            "searches_per_client",
            "pictures_per_client",
            "most_connections",
            "bytes_per_second",
        ],
    )
    def test_at_least_one(self, name):
        with pytest.raises(ConfigError, match=name):
            ServerSettings(**{name: 0})

    @pytest.mark.parametrize(
        "name",
        [
            "searches_per_second",
            "header_seconds",
            "idle_seconds",
            "body_seconds",
            "reader_seconds",
            "finish_seconds",
        ],
    )
    @pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
    def test_above_zero(self, name, value):
        with pytest.raises(ConfigError, match=name):
            ServerSettings(**{name: value})

    def test_none_may_wait(self):
        assert ServerSettings(searches_waiting=0).searches_waiting == 0
        with pytest.raises(ConfigError, match="searches_waiting"):
            ServerSettings(searches_waiting=-1)


class TestLimitsOfAnAddress:
    def test_on_this_machine_alone_a_client_has_none(self):
        settings = settings_for("127.0.0.1", token=None, allowed_hosts=("x.org",), rate=None)
        assert settings == ServerSettings(allowed_hosts=("x.org",))
        assert settings.searches_per_second is settings.searches_per_client is None

    def test_where_other_machines_reach_it_there_are_some(self):
        settings = settings_for("0.0.0.0", token=TOKEN, allowed_hosts=(), rate=None)
        assert settings.searches_per_second == 10
        assert settings.searches_per_client == 16
        assert settings.pictures_per_client == 64

    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
    def test_the_rate_can_be_said(self, host):
        def rate(given):
            return settings_for(host, token=TOKEN, allowed_hosts=(), rate=given).searches_per_second

        assert rate(0.5) == 0.5
        assert rate(0) is None
        with pytest.raises(ConfigError, match="searches_per_second"):
            rate(-1)

    def test_behind_a_trusted_proxy_there_are_some(self):
        settings = settings_for(
            "127.0.0.1", token=None, allowed_hosts=(), rate=None, trusted_proxies=["127.0.0.1"]
        )
        assert settings.searches_per_second == 10
        assert settings.searches_per_client == 16

    @pytest.mark.parametrize(
        "proxy", ["", "box.lan", "10.0.0.1:80", "10.0.0.0/33", "0.0.0.0/0", "::/0"]
    )
    def test_proxies_that_are_none(self, proxy):
        with pytest.raises(ConfigError, match="address"):
            ServerSettings(trusted_proxies=(proxy,))

    @pytest.mark.parametrize(
        "path", ["photos", "/", "/photos/", "//x", "/a b", "/a;b", "http://x/y", "/é"]
    )
    def test_root_paths_that_are_none(self, path):
        with pytest.raises(ConfigError, match="/photos"):
            ServerSettings(root_path=path)

    def test_root_paths(self):
        def path(given):
            return settings_for(
                "::1", token=None, allowed_hosts=(), rate=None, root_path=given
            ).root_path

        given = ["/photos", "/a/b-c.d/", "/", ""]
        assert [path(each) for each in given] == ["/photos", "/a/b-c.d", "", ""]

    def test_so_many_may_wait_that_64_clients_are_never_refused(self):
        assert ServerSettings().searches_waiting >= 64


def test_ports():
    assert host_and_port("Box.lan:80") == ("box.lan", 80)
    assert host_and_port("[::1]:8765") == ("::1", 8765)
    assert host_and_port("localhost:") == ("localhost", None)
    assert host_and_port("[::1]evil") is None


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
