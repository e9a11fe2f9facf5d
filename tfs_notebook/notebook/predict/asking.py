"""What a `%tfs_predict` line or cell does: read it, ask whom it names, show the answers."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from tfs_notebook.api.calls.model_spec import ModelSpec
from tfs_notebook.errors import ServingError
from tfs_notebook.notebook.predict.answer import View
from tfs_notebook.notebook.predict.client import ask
from tfs_notebook.notebook.predict.comparison import called, compared
from tfs_notebook.notebook.predict.explain import explain, model_names
from tfs_notebook.notebook.predict.request import read_question
from tfs_notebook.notebook.predict.view import check_classes, fitted_truth, read_classes, read_truth

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from tfs_notebook.notebook.predict.answer import Answer
    from tfs_notebook.notebook.predict.comparison import Comparison
    from tfs_notebook.notebook.predict.request import Question
    from tfs_notebook.server.server import Server


_MAX_COMPARED = 6


class UndefinedNameError(NameError):
    """A name in an expression that is no variable, told in one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"NameError: {self}"]


UndefinedNameError.__name__ = "NameError"  # what front ends know


def evaluator(shell: InteractiveShell) -> Callable[[str], Any]:
    """What evaluates an expression among the user's variables. It raises what the expression does."""

    def evaluate(text: str) -> Any:
        __tracebackhide__ = True
        try:
            return shell.ev(text)  # type: ignore[no-untyped-call]
        except NameError as error:
            last = error.__traceback__
            while last is not None and last.tb_next is not None:
                last = last.tb_next
            if last is None or last.tb_frame.f_code.co_filename != "<string>":
                raise  # in a function of the user's, where it helps to see the place
            near = get_close_matches(error.name or "", shell.user_ns, n=1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            raise UndefinedNameError(f"{error}{hint}", name=error.name) from None

    return evaluate


def predict(arguments: argparse.Namespace, text: str, server: Server, shell: InteractiveShell) -> Answer | Comparison:
    """The answer to the request in `text`, as the `arguments` of the line want it; a comparison when they name several.

    Raises UsageError for a refusal, and what the expressions raise.
    """
    __tracebackhide__ = True
    evaluate = evaluator(shell)
    asked = specs(arguments, server)
    try:
        question = read_question(text, asked[0], arguments.signature_name, evaluate)
        classes = read_classes(arguments.classes, evaluate, shell.user_ns)
        truth = read_truth(arguments.truth, text, evaluate)
    except ServingError as error:
        raise UsageError(error.told) from None
    answers = [_answer(replace(question, spec=spec), server, arguments.via) for spec in asked]
    names = called(asked)
    if arguments.out:
        values = [answer.value for answer in answers]
        shell.user_ns[arguments.out] = values[0] if len(asked) == 1 else dict(zip(names, values, strict=True))
    try:
        for answer in answers:
            check_classes(classes, answer, arguments.classes)
        truth = None if truth is None else fitted_truth(truth, answers[0], classes, arguments.truth)
    except ServingError as error:
        raise UsageError(error.told) from None
    answers = [replace(answer, view=View(classes, truth, arguments.plot)) for answer in answers]
    return answers[0] if len(answers) == 1 else compared(names, answers)


def _answer(question: Question, server: Server, via: str) -> Answer:
    __tracebackhide__ = True
    try:
        return ask(question, server, via)
    except ServingError as error:
        raise UsageError(explain(error, server, question)) from None


def specs(arguments: argparse.Namespace, server: Server) -> list[ModelSpec]:
    """Whom the line asks: every version or label that it names of every model. Raises UsageError when it is nobody."""
    if not arguments.model:
        raise UsageError(f"%tfs_predict MODEL: which model? {model_names(server)}")
    versions, labels = arguments.version or [], arguments.label or []
    if versions and labels:
        raise UsageError("--version and --label name two versions: give one of them")
    served = {model.name for model in server.status().models}
    models = [arguments.model] if arguments.model in served else list(filter(None, arguments.model.split(",")))
    found = [
        ModelSpec(model, version, label)
        for model in dict.fromkeys(models)
        for version in dict.fromkeys(versions or [None])
        for label in dict.fromkeys(labels or [None])
    ]
    if len(found) > _MAX_COMPARED:
        raise UsageError(f"{len(found)} answers are too many to compare: at most {_MAX_COMPARED}")
    return found
