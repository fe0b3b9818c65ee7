"""Tokens with names: the file that holds them, and what is refused of it."""

from __future__ import annotations

import os
import re

import pytest

from msedge.errors import ConfigError
from msedge.server.tokens import Token, Tokens

ONE, TWO, THREE = "correct-horse-battery", "staple#correct-horse", "0123456789abcdef"


@pytest.fixture
def write(tmp_path):
    def written(text, mode=0o600):
        path = tmp_path / "tokens"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return written


def refusal(path):
    with pytest.raises(ConfigError) as told:
        Tokens(None, path)
    line = str(told.value)
    assert "\n" not in line
    assert not any(token in line for token in (ONE, TWO, THREE))
    return line


class TestReading:
    def test_names_and_remarks(self, write):
        path = write(f"# who may ask\n\nci {ONE}\n  backup\t{TWO}  \n{THREE}\r\n")
        tokens = Tokens(None, path)
        assert len(tokens) == 3
        assert tokens.of_secret(ONE) == Token("ci", ONE)
        assert tokens.of_secret(TWO).name == "backup"
        assert tokens.of_secret(THREE).name == "default"
        assert tokens.of_secret("ci") is None

    def test_beside_that_of_the_environment(self, write):
        tokens = Tokens(THREE, write(f"ci {ONE}\n"))
        assert [tokens.of_secret(each).name for each in (THREE, ONE)] == ["default", "ci"]

    def test_none(self):
        assert len(Tokens()) == 0
        assert Tokens().of_secret("") is Tokens().of_cookie("") is None

    def test_cookies_are_each_token_s_own(self, write):
        tokens = Tokens(None, write(f"a {ONE}\nb {TWO}\n"))
        one, two = tokens.of_secret(ONE), tokens.of_secret(TWO)
        assert tokens.of_cookie(two.cookie) == two
        assert one.cookie != two.cookie
        assert tokens.of_cookie(ONE) is tokens.of_secret(one.cookie) is None

    def test_a_token_is_not_shown(self):
        assert ONE not in repr(Token("ci", ONE))

    def test_again(self, write):
        tokens = Tokens(None, path := write(f"old {ONE}\n"))
        write(f"old {ONE}\nnew {TWO}\n")
        tokens.reload()
        assert tokens.of_secret(ONE)
        assert tokens.of_secret(TWO)
        write(f"new {TWO}\n")
        tokens.reload()
        assert tokens.of_secret(ONE) is None
        for wrong in ("", "short", f"new {TWO}\nnew {ONE}\n"):
            write(wrong)
            with pytest.raises(ConfigError):
                tokens.reload()
        path.unlink()
        with pytest.raises(ConfigError):
            tokens.reload()
        assert tokens.of_secret(TWO).name == "new"


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "no token"),
            ("# nothing\n\n", "no token"),
            ("ci short\n", "line 1 of .* at least 16"),
            (f"ci {ONE}\nshort\n", "line 2 of .* at least 16"),
            (f"ci {ONE}é\n", "of ASCII"),
            (f"ci {ONE} {TWO}\n", "3 words"),
            (f"ci {ONE}\nci {TWO}\n", "a name twice"),
            (f"{ONE}\n{TWO}\n", "a name twice .* default"),
            (f"a {ONE}\nb {ONE}\n", "a token twice"),
            (f"{ONE} {TWO}\n", "no name"),  # which would be logged
            (f"a/b {ONE}\n", "no name"),
            (b"\xff\xfe", "UTF-8"),
            ("#" * 70_000, "longer than"),
        ],
    )
    def test_what_it_holds(self, write, text, why):
        assert re.search(why, refusal(write(text)))

    def test_the_name_of_the_one_beside(self, write):
        with pytest.raises(ConfigError, match="twice"):
            Tokens(ONE, write(f"default {TWO}\n"))

    @pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
    def test_others_could_read_it(self, write, mode):
        assert "chmod 600" in refusal(write(f"ci {ONE}\n", mode))

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="wants root")
    def test_its_group_could_read_it(self, write):
        """As service managers hand out a secret that root owns; not a person's own file."""
        path = write(f"ci {ONE}\n", 0o440)
        assert len(Tokens(None, path)) == 1
        path.chmod(0o620)
        assert "chmod 600" in refusal(path)
        os.chown(path, 1000, 1000)
        path.chmod(0o440)
        assert "chmod 600" in refusal(path)

    def test_it_is_not_there(self, tmp_path):
        assert "No such file" in refusal(tmp_path / "none")
        assert "Is a directory" in refusal(tmp_path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="wants pipes")
    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe", 0o600)
        assert "no file" in refusal(tmp_path / "pipe")


class TestServer:
    def test_each_opens_and_the_log_says_which(self, connect, write, caplog):
        caplog.set_level("INFO", logger="msedge.server.request_log")
        client = connect(token=THREE, token_file=write(f"ci {ONE}\nbackup {TWO}\n"))
        for token in (ONE, TWO, THREE):
            headers = {"Authorization": f"Bearer {token}"}
            assert client.get("/api/gallery", headers=headers).status_code == 200
        assert client.get("/api/gallery").status_code == 401
        lines = [record.getMessage() for record in caplog.records]
        names = [line.rpartition(" token=")[2] for line in lines[:3]]
        assert names == ["ci", "backup", "default"]
        assert not any(token in caplog.text for token in (ONE, TWO, THREE))

    def test_a_cookie_ends_with_its_token(self, connect, write):
        client = connect(token_file=write(f"old {ONE}\nnew {TWO}\n"))
        cookies = []
        for token in (ONE, TWO):
            answer = client.post("/api/session", headers={"Authorization": f"Bearer {token}"})
            cookies.append({"Cookie": answer.headers["set-cookie"].partition(";")[0]})
        client.cookies.clear()
        for cookie in cookies:
            assert client.get("/api/photos/1", headers=cookie).status_code == 200
        write(f"new {TWO}\n")
        client.app.state.tokens.reload()
        statuses = [client.get("/api/photos/1", headers=cookie).status_code for cookie in cookies]
        assert statuses == [401, 200]

    def test_under_a_path_the_cookie_goes_there(self, connect):
        client = connect(token=ONE, root_path="/photos")
        headers = {"Authorization": f"Bearer {ONE}"}
        answer = client.post("/api/session", headers=headers)
        assert "; Path=/photos/api/photos;" in answer.headers["set-cookie"]
        document = client.get("/openapi.json", headers=headers).json()
        assert document["servers"] == [{"url": "/photos"}]
