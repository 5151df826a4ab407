"""Equal work has equal keys, and other work has others."""

from types import SimpleNamespace

from tiny_models import bundle, corpus

from edgecompress import keys
from edgecompress.encoder import sources
from edgecompress.encoder.bundle import save
from edgecompress.keys import model_key, stage_key, work_name
from edgecompress.options import Selection


def test_the_order_in_which_options_are_written_is_no_option(tmp_path):
    (tmp_path / "keep.txt").write_text("dom\n")
    options = {"corpora": (corpus(tmp_path),), "selection": Selection(keep_files=(tmp_path / "keep.txt",))}
    key = stage_key("trim", options, "before")
    assert stage_key("trim", dict(reversed(options.items())), "before") == key
    (tmp_path / "keep.txt").write_text("dub\n")
    assert stage_key("trim", options, "before") != key


def test_checkpoints_of_several_processes_lie_elsewhere(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = work_name("0123456789abcdef0123")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (alone, work_name("0123456789abcdef0123")) == ("0123456789abcdef", "0123456789abcdef-4")


def test_a_model_at_home_is_known_by_its_content(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(bundle("bert"), tmp_path / "model")
    key = model_key("~/model")
    assert key == model_key(str(tmp_path / "model"))
    save(bundle("bert", seed=1), tmp_path / "model")
    assert model_key("~/model") != key
    assert model_key("e5-small") == "e5-small"


def test_a_model_of_the_hub_is_known_by_its_commit(monkeypatch):
    """Else a run that is gone on with would mix stages of two models of one name."""
    monkeypatch.setattr(sources.HfApi, "model_info", lambda *_, **__: SimpleNamespace(siblings=()))
    found = []
    for name in ("a", "b"):
        monkeypatch.setattr(sources, "snapshot_download", lambda *_, name=name, **__: f"/cache/snapshots/{name}")
        keys._with_commit.cache_clear()
        found.append(model_key("some/model"))
    keys._with_commit.cache_clear()
    assert found == ["some/model@a", "some/model@b"]
