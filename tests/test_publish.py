import json
import socket

import huggingface_hub
import pytest
from huggingface_hub import ModelCard
from test_card import FULL, an_artifact, results_of

from edgecompress import hub
from edgecompress.artifact import MANIFEST, open_artifact, seal
from edgecompress.bench import results
from edgecompress.errors import InputError

STATED = ("--language", "sk", "--license", "mit", "--base-model", "a/b")


class RefusalError(OSError):
    """As the hub's own error: a response with a status, and what the server said."""

    def __init__(self, status):
        super().__init__(f"{status}\nfor url https://…")
        self.response = type("Response", (), {"status_code": status})()
        self.server_message = "no\nrights here"


class Hub:
    """Stands for HfApi; keeps what it is given."""

    def __init__(self, error=None):
        self.created, self.commits, self.error = [], [], error

    def create_repo(self, repo_id, **options):
        self.created.append((repo_id, options))
        return huggingface_hub.RepoUrl(f"https://huggingface.co/me/{repo_id.rpartition('/')[2]}")

    def create_commit(self, repo_id, operations, *, commit_message):
        if self.error:
            raise self.error
        self.commits.append((repo_id, {one.path_in_repo: one for one in operations}, commit_message))


@pytest.fixture
def fake(monkeypatch):
    def put(error=None):
        one = Hub(error)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: one)
        return one

    return put


def content(operation):
    with operation.as_file() as handle:
        return handle.read()


def test_the_artifact_and_its_card_go_in_one_commit_and_nothing_else(run, tmp_path, fake):
    artifact, api = an_artifact(tmp_path / "a"), fake()
    results.write(tmp_path / "r.json", results_of(artifact))
    (artifact.folder / "secret[1].txt").write_text("mine")
    (artifact.folder / "README.md").write_text("a draft")
    before = {path: path.read_bytes() for path in artifact.folder.iterdir()}
    words = ("push", artifact.folder, "me/slovak", "--results", tmp_path / "r.json", "--dataset", "D", *STATED)
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert out == "https://huggingface.co/me/slovak\n"
    ((repo, files, message),) = api.commits
    assert (repo, message) == ("me/slovak", "edgecompress: topic, int8-tables4")
    assert set(files) == {MANIFEST, "model.onnx", "tokenizer.json", "README.md"}
    for name in (MANIFEST, "model.onnx", "tokenizer.json"):
        assert content(files[name]) == (artifact.folder / name).read_bytes()
    data = ModelCard(content(files["README.md"]).decode()).data
    assert (data.model_name, data.eval_results[0].metric_value) == ("slovak", 0.866)
    assert {path: path.read_bytes() for path in artifact.folder.iterdir()} == before


def test_what_arrives_opens_again(tmp_path, fake):
    artifact, api = an_artifact(tmp_path / "a", "ner"), fake()
    hub.upload(artifact, "card", "me/ner", private=True)
    (tmp_path / "copy").mkdir()
    for name, operation in api.commits[0][1].items():
        (tmp_path / "copy" / name).write_bytes(content(operation))
    assert open_artifact(tmp_path / "copy").checksums == artifact.checksums


@pytest.mark.parametrize(("flags", "private"), [((), True), (("--private",), True), (("--public",), False)])
def test_a_new_repository_is_private_unless_asked(run, tmp_path, fake, flags, private):
    api = fake()
    assert run("push", an_artifact(tmp_path / "a").folder, "slovak", *flags)[0] == 0
    assert api.created == [("slovak", {"private": private, "exist_ok": True})]
    assert api.commits[0][0] == "me/slovak"  # under the token's account


def test_a_dry_run_asks_no_network_and_shows_all(run, tmp_path, fake, monkeypatch):
    artifact, api = an_artifact(tmp_path / "a"), fake()
    results.write(tmp_path / "r.json", results_of(artifact))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    code, out, err = run("push", artifact.folder, "me/slovak", "--dry-run", "--results", tmp_path / "r.json", *STATED)
    assert (code, api.created, api.commits) == (0, [], [])
    assert err == "not stated: test data (--dataset NAME)\n"
    sizes = {line.split()[0]: int(line.split()[-2].replace(",", "")) for line in out.splitlines() if "bytes" in line}
    assert list(sizes) == [MANIFEST, "model.onnx", "tokenizer.json", "README.md", "total"]
    assert sizes["model.onnx"] == artifact.model_bytes
    assert sizes.pop("total") == sum(sizes.values())
    front = out.split("---\n")[1]
    assert "license: mit" in front
    assert "value: 0.866" in front
    assert out.endswith("to me/slovak (private if new); nothing was uploaded (--dry-run)\n")


@pytest.mark.parametrize("repo", ["a/b/c", "me/", "me--x", "me/x.git", "-x", "s p", "é/x"])
def test_a_repository_has_a_name_that_the_hub_takes(run, tmp_path, fake, repo):
    api = fake()
    code, out, err = run("push", an_artifact(tmp_path / "a").folder, "--dry-run", "--", repo)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{repo!r} is no name on the hub: give owner/name" in err
    assert not api.created


def _transport_error():
    """The error of the hub's own transport, whichever it is: not always an OSError."""
    base = huggingface_hub.errors.HfHubHTTPError.__bases__[0]
    return base("no route to host")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RefusalError(401), "the hub refused it (401: no rights here): set HF_TOKEN"),
        (RefusalError(403), "the hub refused it (403: no rights here): set HF_TOKEN"),
        (RefusalError(500), "the hub answered 500 (no rights here)"),
        (_transport_error(), "was not reached, or did not take the files (no route to host): check the connection"),
        (ConnectionError("refused\nby peer"), "(refused by peer)"),
        (RuntimeError("Error while uploading 'model.onnx' to the Hub."), "Error while uploading 'model.onnx'"),
        (TimeoutError(), "(TimeoutError)"),
        (OSError("x" * 500), "x…)"),
    ],
)
def test_whatever_the_hub_refuses_is_one_line(run, tmp_path, fake, error, says):
    fake(error)
    code, out, err = run("push", an_artifact(tmp_path / "a").folder, "me/slovak", *STATED)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("edgecompress: me/slovak was not pushed: ")
    assert says in err
    assert len(err) < 400


def test_the_real_client_without_a_network(run, tmp_path):
    """Offline mode (conftest) refuses every request at once, in the real HfApi."""
    code, _, err = run("push", an_artifact(tmp_path / "a").folder, "me/slovak", *STATED)
    assert (code, err.count("\n")) == (2, 1)
    assert "me/slovak was not pushed: the hub was not reached" in err


def test_a_changed_artifact_is_not_pushed(run, tmp_path, fake):
    artifact, api = an_artifact(tmp_path / "a"), fake()
    artifact.tokenizer_path.write_text("{}")
    code, _, err = run("push", artifact.folder, "me/slovak")
    assert (code, err.count("\n")) == (2, 1)
    assert "has changed since the export" in err
    assert not api.created


def test_a_card_does_not_replace_a_checked_file(tmp_path):
    artifact = an_artifact(tmp_path / "a")
    (artifact.folder / "README.md").write_text("checked")
    with pytest.raises(InputError, match=r"counts README\.md among its checked files"):
        hub.files(seal(artifact))


def test_results_that_do_not_fit_stop_before_the_upload(run, tmp_path, fake):
    artifact, api = an_artifact(tmp_path / "a"), fake()
    results.write(tmp_path / "r.json", results_of(artifact))
    found = json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps(found).replace(artifact.checksums["model.onnx"], "1" * 64))
    code, _, err = run("push", artifact.folder, "me/slovak", "--results", tmp_path / "r.json")
    assert (code, err.count("\n")) == (2, 1)
    assert "no model with the digest" in err
    assert not api.created


def test_the_token_is_no_option(run):
    code, out, _ = run("push", "--help")
    assert code == 0
    assert "--token" not in out
    assert "HF_TOKEN" in out
    assert FULL.repo not in out
