"""The guide's scenario in a real kernel: three models from a bucket that follow it, while requests go on."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest

from tests.notebook.test_kernel import Kernel
from tests.oss.guide import CONFIG, ROOT, Guide, asking
from tests.support.serving import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.filterwarnings("ignore:Kernel is running over TCP without encryption"),
]

QUICK = "--oss_poll_wait_seconds=1 --port=0 --rest_api_port=0"
SERVE = f"%tfs_serve {ROOT} --mount=/models --model_config_file={CONFIG} {QUICK}"


@pytest.fixture
def kernel(guide: Guide) -> Iterator[Kernel]:
    """A kernel that finds the bucket by its environment."""
    started = Kernel()
    assert started.run("%load_ext tfs_notebook") == ""
    yield started
    started.close()


def test_three_models_follow_the_bucket_under_load(kernel: Kernel, guide: Guide) -> None:
    shown = kernel.run(f"server = {SERVE}\nserver")
    for row in ("modelA  1        ● AVAILABLE", "modelB  1        ● AVAILABLE  stable", "modelC  3        ● AVAILABLE"):
        assert row in shown
    url = kernel.run("print(server.rest_url)").strip()
    with asking(url, "modelA", "modelB/labels/canary", "modelC") as failures:
        guide.put("modelA", 2)
        assert "in step" in kernel.run("%tfs_sync now")
        assert "modelA  2        ● AVAILABLE" in kernel.run("print(server._repr_mimebundle_()['text/plain'])")
        pushed = kernel.run(f"%tfs_push {guide.version(4)} {ROOT}modelC/")
        assert f"is version 4 of {ROOT}modelC/" in pushed
        guide.configure("modelA", "modelC")
        guide.configure()
        kernel.run("%tfs_sync now")
        assert "modelC  4        ● AVAILABLE" in kernel.run("print(server._repr_mimebundle_()['text/plain'])")
    assert failures == []
    assert kernel.run("%tfs_stop") == ""


def test_two_kernels_share_one_copy_and_either_may_ask_for_a_look(kernel: Kernel, guide: Guide) -> None:
    serve = f"server = %tfs_serve {ROOT}modelA/ --oss_poll_wait_seconds=60 --oss_keep_versions=0 --port=0"
    show = "print(server._repr_mimebundle_()['text/plain'])"
    guide.oss.clock_offset = 100
    other = Kernel()
    try:
        other.run("%load_ext tfs_notebook")
        for each in (kernel, other):
            each.run(f"{serve} --rest_api_port=0")
            assert "model  1        ● AVAILABLE" in each.run(show)
        urls = [each.run("print(server.rest_url)").strip() for each in (kernel, other)]
        with asking(urls[0], "model") as failures, asking(urls[1], "model") as others_failures:
            guide.put("modelA", 2)
            guide.oss.clock_offset = 200
            shown = other.run("%tfs_sync now")
            assert re.search(rf"{ROOT}modelA/ +● following +\d\d:\d\d:\d\d", shown)
            for each in (other, kernel):
                assert "model  2        ● AVAILABLE" in each.run("%tfs_sync now\n" + show)
        assert failures + others_failures == []
        kernel.run("%tfs_stop")
        assert "● in step" in other.run("%tfs_sync now")
    finally:
        other.close()


def test_progress_is_written_over_in_the_cell_that_waits(kernel: Kernel, guide: Guide) -> None:
    kernel.run("import tensorflow")
    guide.oss.fail("slow", key="saved_model.pb", rate=16_000, times=None)
    kernel.run(f"{SERVE};")
    shows = [message for message in kernel.messages if message["msg_type"].endswith("display_data")]
    (first, *updates) = [message["content"] for message in shows if "text/plain" in message["content"]["data"]]
    assert first["transient"]["display_id"]
    assert updates
    assert {update["transient"]["display_id"] for update in updates} == {first["transient"]["display_id"]}
    texts = [content["data"]["text/plain"] for content in (first, *updates)]
    assert any(re.search(r"^model[ABC]/\d [█░]{30} +\d+% ", text, re.MULTILINE) for text in texts)
    assert re.fullmatch(rf"Fetched from {ROOT} in [\d.]+ s", texts[-1])


def test_the_wait_ends_with_ctrl_c_and_what_is_fetched_goes_on(kernel: Kernel, guide: Guide) -> None:
    kernel.run(f"{SERVE};")
    stall = guide.oss.fail("stall", key="modelA/2/saved_model.pb", times=None)
    guide.put("modelA", 2)
    threading.Thread(target=lambda: (stall.reached.wait(PATIENCE), kernel.manager.interrupt_kernel())).start()
    assert "KeyboardInterrupt: the synchronisation goes on, %tfs_sync shows it" in kernel.run("%tfs_sync now")
    guide.oss.heal()
    assert "in step" in kernel.run("%tfs_sync now")


def test_ctrl_c_before_anything_has_changed_says_so(kernel: Kernel, guide: Guide) -> None:
    kernel.run(f"%tfs_serve {ROOT}modelA/ {QUICK}")
    stall = guide.oss.fail("stall", method="LIST", key="modelC", times=None)
    threading.Thread(target=lambda: (stall.reached.wait(PATIENCE), kernel.manager.interrupt_kernel())).start()
    assert "KeyboardInterrupt: nothing has changed" in kernel.run(f"%tfs_serve {ROOT}modelC/ {QUICK}")
    guide.oss.heal()
    assert f"{ROOT}modelA/" in kernel.run("print(get_ipython().run_line_magic('tfs_sync', 'status'))")


def test_a_listing_that_was_waited_for_does_not_stay_in_the_cell(kernel: Kernel) -> None:
    kernel.run(
        "from types import SimpleNamespace\n"
        "from tfs_notebook.engine.storage.remote import SourceStatus\n"
        "from tfs_notebook.notebook.view.progress import FetchProgress\n"
        "with FetchProgress(None) as progress:\n"
        "    progress.update(SimpleNamespace(sources=lambda: [SourceStatus('oss://b/', '', 'starting')]))"
    )
    shows = [message["content"] for message in kernel.messages if message["msg_type"].endswith("display_data")]
    assert [show["data"]["text/plain"] for show in shows] == ["oss://b/ is being listed", ""]


def test_nothing_that_a_kernel_sends_holds_a_secret(kernel: Kernel, guide: Guide) -> None:
    sent = kernel.run(f"{SERVE}") + str(kernel.messages)
    guide.oss.revoke(guide.oss.key_id)
    for cell in ("%tfs_sync now", "%tfs_status", f"%tfs_push modelA {ROOT}modelA/", f"{SERVE}"):
        sent += kernel.run(cell) + str(kernel.messages)
    assert "InvalidAccessKeyId" in sent
    assert guide.oss.key_id not in sent
    assert guide.oss.key_secret not in sent
