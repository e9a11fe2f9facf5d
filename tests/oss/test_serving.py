"""A server whose models and configuration are in a bucket: what changes there is served, what goes wrong there is told,
and no request notices.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.oss.guide import CONFIG, KEY, ROOT, Guide, asking
from tests.support.serving import ask, until
from tfs_notebook.engine.config import parse_config
from tfs_notebook.engine.events import Kind
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.notebook.view.table import as_html, as_text
from tfs_notebook.server import start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer
    from tfs_notebook.server.server import Server

QUICK: dict[str, Any] = {"port": 0, "rest_api_port": 0, "oss_poll_wait_seconds": 1}
WHOLE: dict[str, Any] = {"mount": "/models", "model_config_file": CONFIG, **QUICK}


def versions(server: Server, name: str) -> set[int]:
    """The versions of a model that serve."""
    status = next((model for model in server.status().models if model.name == name), None)
    return {version.number for version in status.versions if version.state.name == "AVAILABLE"} if status else set()


def answer(server: Server, path: str) -> Any:
    """What 0 is answered: the number of the version that answers; else the status and the error."""
    reply = ask(server, "POST", f"/v1/models/{path}:predict", {"instances": [0.0]})
    return reply.json["predictions"][0] if reply.status == 200 else (reply.status, reply.error)


def test_the_guides_scenario_deployment_of_one_model_is_one_line(guide: Guide) -> None:
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK) as server:
        assert answer(server, "model") == 1
        assert server.problems == []
        (source,) = server.status().sources
        assert (source.address, source.state, source.problem) == (f"{ROOT}modelA/", "in step", None)
        assert source.last_listing is not None


@pytest.mark.parametrize("config", [CONFIG, "/models/model_config.pbtxt"])
def test_the_guides_three_models_follow_the_bucket_without_a_failed_request(guide: Guide, config: str) -> None:
    with tfs_notebook.serve(ROOT, **{**WHOLE, "model_config_file": config}) as server:
        assert {name: versions(server, name) for name in ("modelA", "modelB", "modelC")} == {
            "modelA": {1}, "modelB": {1, 2}, "modelC": {2, 3},
        }  # fmt: skip
        assert [answer(server, f"modelB/labels/{label}") for label in ("stable", "canary")] == [1, 2]
        assert [source.address for source in server.sources()] == [ROOT]
        with asking(server.rest_url or "", "modelA", "modelB/labels/stable", "modelC") as failures:
            guide.put("modelA", 2)
            guide.put("modelC", 4)
            until(lambda: failures or (versions(server, "modelA"), versions(server, "modelC")) == ({1, 2}, {3, 4}))
            guide.configure(
                text=f"""model_config_list {{
                config {{ name: 'modelA' base_path: '/models/modelA' model_platform: 'tensorflow' }}
                config {{ name: 'modelB' base_path: '{ROOT}modelB/' model_platform: 'tensorflow'
                          version_labels {{ key: 'stable' value: 2 }} }}
                config {{ name: 'modelC' base_path: '/models/modelC/' model_platform: 'tensorflow' }}
                config {{ name: 'again' base_path: '/models/modelA/' model_platform: 'tensorflow' }}
            }}""".encode()
            )
            until(lambda: failures or versions(server, "again") == {2})
            until(lambda: failures or (versions(server, "modelB"), versions(server, "modelC")) == ({2}, {4}))
            assert answer(server, "modelB/labels/stable") == 2
        assert failures == []
        assert server.problems == []
        assert server.listening_options()


def test_a_model_that_is_not_in_the_config_any_more_is_unloaded(guide: Guide) -> None:
    with tfs_notebook.serve(ROOT, **WHOLE) as server:
        guide.configure("modelA", "modelC")
        until(lambda: isinstance(answer(server, "modelB"), tuple))
        guide.configure()
        until(lambda: versions(server, "modelB") == {1, 2})


def test_a_config_that_is_broken_or_gone_leaves_the_last_good_one(guide: Guide) -> None:
    with tfs_notebook.serve(ROOT, **WHOLE) as server:
        guide.configure(text=b"model_config_list { config { nam: 'x' } }")
        until(lambda: server.status().config_problem)
        assert "nam" in str(server.status().config_problem)
        assert answer(server, "modelA") == 1
        guide.oss.delete(f"{KEY}/model_config.pbtxt")
        until(lambda: "is not there" in str(server.status().config_problem))
        assert answer(server, "modelC") == 3
        guide.configure()
        until(lambda: not server.problems)


def test_half_of_a_version_is_waited_for_and_never_served(guide: Guide) -> None:
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK) as server:
        guide.put("modelA", 2, without="variables")
        told = until(lambda: [problem.message for problem in server.problems if "variables" in problem.message])
        assert "Version 2 of model model is not taken up yet" in told[0]
        assert versions(server, "model") == {1}
        guide.put("modelA", 2)
        until(lambda: versions(server, "model") == {2})
        until(lambda: not server.problems)


def test_credentials_that_end_leave_what_is_served_and_fresh_ones_go_on(
    guide: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tfs_notebook.serve(ROOT, **WHOLE) as server:
        guide.oss.revoke(guide.oss.key_id)
        until(lambda: [source for source in server.sources() if source.state == "stopped"])
        assert "InvalidAccessKeyId" in str(server.problems)
        assert [answer(server, name) for name in ("modelA", "modelB", "modelC")] == [1, 2, 3]
        guide.oss.grant("LTAI5tFreshKey", "fresh-secret")
        monkeypatch.setenv("OSS_ACCESS_KEY_ID", "LTAI5tFreshKey")
        monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "fresh-secret")
        guide.put("modelA", 2)
        until(lambda: versions(server, "modelA") == {1, 2})
        until(lambda: not server.problems)


def test_now_pause_and_resume(guide: Guide) -> None:
    with tfs_notebook.serve(ROOT, **{**WHOLE, "oss_poll_wait_seconds": 2}) as server:
        guide.put("modelA", 2)
        server.sync_now()
        assert versions(server, "modelA") == {1, 2}
        server.sync_pause()
        assert [source.state for source in server.sources()] == ["paused"]
        with pytest.raises(ServingError, match="is paused") as refused:
            server.sync_now()
        assert "%tfs_sync resume" in refused.value.hint
        before = len(guide.oss.requests)
        guide.put("modelA", 3)
        guide.configure("modelA")
        assert len(guide.oss.requests) == before
        server.sync_resume()
        until(lambda: versions(server, "modelA") == {1, 2, 3})
        until(lambda: isinstance(answer(server, "modelB"), tuple))


def test_without_a_period_it_is_looked_at_only_when_asked(guide: Guide) -> None:
    with tfs_notebook.serve(ROOT, **{**WHOLE, "oss_poll_wait_seconds": 0}) as server:
        assert versions(server, "modelC") == {2, 3}
        (source,) = server.sources()
        assert source.next_listing is None
        before = len(guide.oss.requests)
        guide.put("modelA", 2)
        guide.configure("modelA")
        server.predict("modelA", [0.0])
        assert len(guide.oss.requests) == before
        server.sync_now()
        assert versions(server, "modelA") == {1, 2}
        assert [model.name for model in server.status().models if model.config] == ["modelA"]


def test_the_running_server_turns_to_oss_and_back(guide: Guide, tmp_path: Path) -> None:
    guide.version(5)
    with (
        tfs_notebook.serve(str(guide.version(1).parent), **QUICK) as server,
        asking(server.rest_url or "", "model") as failures,
    ):
        start.change(server, f"{ROOT}modelC/", "", {"oss_poll_wait_seconds": 1})
        assert answer(server, "model") == 3
        start.change(server, f"{ROOT}modelB/", "", {"oss_poll_wait_seconds": 2, "oss_cache_dir": str(tmp_path)})
        assert answer(server, "model") == 2
        assert list(tmp_path.glob("http*/examplebucket/*modelB/2/saved_model.pb"))
        start.change(server, str(guide.version(1).parent), "", {})
        assert server.sources() == ()
        assert failures == []


def test_what_serves_stays_until_a_half_uploaded_version_of_the_next_prefix_is_whole(guide: Guide) -> None:
    guide.put("modelD", 1, without="variables.index")
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK) as server, asking(server.rest_url or "", "model") as failures:
        start.change(server, f"{ROOT}modelD/", "", QUICK)
        shown = as_text(server.status())
        assert "model  1        ● AVAILABLE" in shown
        assert "Version 1 of model model is not taken up yet: variables.index not uploaded yet" in shown
        assert "Model model answers as before, by version 1 (" in shown
        assert f"1), until one in {ROOT}modelD/ serves" in shown
        guide.put("modelD", 1)
        guide.put("modelD", 2)
        until(lambda: versions(server, "model") == {2})
        assert failures == []


def test_what_serves_stays_when_another_prefix_is_asked_for_during_a_pause(guide: Guide) -> None:
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK) as server:
        server.sync_pause()
        start.change(server, f"{ROOT}modelC/", "", QUICK)
        problem, stopgap = server.problems
        assert stopgap.message.endswith(f"until one in {ROOT}modelC/ serves")
        assert problem.told.splitlines() == [
            f"UNAVAILABLE: {ROOT}modelC/ is not looked at: the synchronisation is paused",
            "%tfs_sync resume goes on.",
        ]
        assert answer(server, "model") == 1
        server.sync_resume()
        until(lambda: answer(server, "model") == 3)
        until(lambda: server.problems == [])


def test_a_disk_budget_of_less_than_nothing_is_none(guide: Guide) -> None:
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK, oss_disk_budget_mb=-1) as server:
        assert answer(server, "model") == 1


def test_a_change_to_what_is_not_there_changes_nothing(guide: Guide) -> None:
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK) as server:
        for path, said in {
            "oss://examplebuckett/modelA/": "is not there",
            f"{ROOT}modelZ/": "No versions of servable model found",
        }.items():
            with pytest.raises(ServingError, match=said) as refused:
                start.change(server, path, "", {})
            assert refused.value.code is Code.NOT_FOUND
        assert answer(server, "model") == 1
        assert server.problems == []


def test_what_was_brought_serves_again_though_oss_cannot_be_reached(guide: Guide) -> None:
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK):
        pass
    guide.oss.fail("error", method="LIST|GET", times=None)
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK) as server:
        assert answer(server, "model") == 1
        until(lambda: server.problems)
        guide.oss.heal()
        guide.put("modelA", 2)
        until(lambda: versions(server, "model") == {2})
        until(lambda: not server.problems)


def test_a_provider_of_ones_own(guide: Guide, monkeypatch: pytest.MonkeyPatch) -> None:
    oss: OssServer = guide.oss

    class Keys:
        def get_access_key_id(self) -> str:
            return oss.key_id

        def get_access_key_secret(self) -> str:
            return oss.key_secret

        def get_security_token(self) -> str:
            return ""

        def get_credentials(self) -> Keys:
            return self

    monkeypatch.delenv("OSS_ACCESS_KEY_ID")
    monkeypatch.delenv("OSS_ACCESS_KEY_SECRET")
    with pytest.raises(ServingError, match="there are no credentials for OSS"):
        tfs_notebook.serve(ROOT, **WHOLE)
    with tfs_notebook.serve(ROOT, oss_credentials=Keys(), **WHOLE) as server:
        assert versions(server, "modelB") == {1, 2}
        start.change(server, f"{ROOT}modelA/", "", {"oss_poll_wait_seconds": 1})
        assert versions(server, "model") == {1}


def test_the_engines_events_tell_of_it(guide: Guide) -> None:
    with tfs_notebook.serve(f"{ROOT}modelA/", **QUICK) as server:
        told = list[Kind]()
        server.listen(lambda event: told.append(event.kind))
        guide.put("modelA", 2)
        until(lambda: versions(server, "model") == {2})
        assert Kind.FETCH in told


def test_the_log_says_once_what_a_version_waits_for(guide: Guide, caplog: pytest.LogCaptureFixture) -> None:
    first, second = (f"waiting for version {n} of modelA: variables.index not uploaded yet" for n in (2, 3))
    with caplog.at_level("WARNING", "tfs_notebook"), tfs_notebook.serve(ROOT, **WHOLE):
        guide.put("modelA", 2, without="variables.index")
        until(lambda: first in caplog.text)
        guide.put("modelA", 3, without="variables.index")
        until(lambda: second in caplog.text)
    assert (caplog.text.count(first), caplog.text.count(second)) == (1, 1)


def test_no_secret_is_shown(guide: Guide, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    secrets = guide.oss.key_id, guide.oss.key_secret
    with tfs_notebook.serve(ROOT, **WHOLE) as server:
        guide.oss.fail("error", method="LIST|GET", times=2)
        guide.oss.fail("expired", method="LIST|GET", times=2, after=2)
        until(lambda: server.problems)
        status = server.status()
        shown = [as_text(status), as_html(status), repr(status), repr(server), repr(server.options)]
        shown += [problem.told for problem in server.problems]
        until(lambda: not server.problems)
    shown += [record.getMessage() for record in caplog.records if record.name.startswith("tfs_notebook")]
    assert not any(secret in text for text in shown for secret in secrets)
    assert not any(
        name.startswith("OSS_") and os.environ[name] in repr(server.options) for name in os.environ if "KEY" in name
    )


@pytest.mark.parametrize(
    "name",
    ["monitoring_config_file", "batching_parameters_file", "ssl_config_file", "tensorflow_session_config_file"],
)
def test_files_that_cannot_be_in_oss(guide: Guide, name: str) -> None:
    with pytest.raises(ServingError, match="only models and --model_config_file may be in OSS") as refused:
        tfs_notebook.serve(ROOT, enable_batching=True, **{**WHOLE, name: "/models/file.config"})
    assert refused.value.message.startswith(f"--{name}=/models/file.config is {ROOT}file.config")


def test_a_reload_may_name_addresses(guide: Guide) -> None:
    with tfs_notebook.serve(str(guide.version(1).parent), **QUICK) as server:
        text = "model_config_list {{ config {{ name: 'b' base_path: '{}' model_platform: 'tensorflow' }} }}"
        server.reload(parse_config(text.format(f"{ROOT}modelB")))
        assert answer(server, "b") == 2
        with pytest.raises(ServingError, match="is no address in OSS"):
            server.reload(parse_config(text.format("oss://B/modelB")))
        assert answer(server, "b") == 2
