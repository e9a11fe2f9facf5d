"""The same over gRPC: messages that are large or of one who may not ask, and handshakes that stop half way."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack, nullcontext, suppress
from itertools import chain
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.faults.hostile import MIB, send
from tests.support.serving import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.hostile import Target


def client_hello() -> bytes:
    """How a client begins TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


CLIENT_HELLO = client_hello()


def large(size: int) -> predict_pb2.PredictRequest:
    """A request with a tensor of so many bytes that the model does not take."""
    request = predict_pb2.PredictRequest(model_spec={"name": "half_plus_two"})
    request.inputs["unknown"].CopyFrom(tf.make_tensor_proto(np.zeros(size // 4, np.float32)))
    return request


def stub(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def channel(target: Target) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc}", [("grpc.max_send_message_length", -1)]) as channel:
        yield channel


def refusal(call: grpc.Future) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        call.result()
    return refused.value


def test_large_messages_one_after_the_other(target: Target, channel: grpc.Channel) -> None:
    """What one takes is free for the next: only the first few make the server larger."""
    request = large(32 * MIB)
    target.report()
    for attempt in chain([nullcontext()], target.attempts()):
        with attempt as seen:
            for _ in range(6):
                refused = refusal(stub(channel).Predict.future(request, PATIENCE))
                assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert seen is not None
    assert seen.grown < 96 * MIB


@pytest.fixture
def guarded_channel(guarded: Target) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(guarded.authority.encode())
    options = [("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(f"localhost:{guarded.grpc}", credentials, options) as channel:
        yield channel


def test_large_messages_of_one_who_may_not_ask_are_not_read(guarded: Target, guarded_channel: grpc.Channel) -> None:
    request = large(64 * MIB)
    for attempt in guarded.attempts():
        with attempt as seen:
            for _ in range(4):
                call = stub(guarded_channel).Predict.future(request, PATIENCE)
                assert refusal(call).code() is grpc.StatusCode.UNAUTHENTICATED
    assert seen.grown < 64 * MIB


@pytest.mark.parametrize(
    "sent",
    [b"", CLIENT_HELLO[:3], CLIENT_HELLO, b"GET / HTTP/1.1\r\n\r\n"],
    ids=["nothing", "a piece", "hello", "HTTP"],
)
def test_handshakes_that_stop_half_way(guarded: Target, guarded_channel: grpc.Channel, sent: bytes) -> None:
    for attempt in guarded.attempts():
        with attempt as seen, ExitStack() as stack:
            for _ in range(200):
                send(stack.enter_context(socket.create_connection(("127.0.0.1", guarded.grpc), PATIENCE)), sent)
            call = stub(guarded_channel).Predict.future(predict_pb2.PredictRequest(), PATIENCE)
            assert refusal(call).code() is grpc.StatusCode.UNAUTHENTICATED
    assert seen.grown < 64 * MIB


def test_a_thousand_calls_that_are_cancelled(target: Target, channel: grpc.Channel) -> None:
    request = predict_pb2.PredictRequest(model_spec={"name": "half_plus_two"})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    for attempt in target.attempts():
        with attempt as seen:
            calls = [stub(channel).Predict.future(request, PATIENCE) for _ in range(1000)]
            for call in calls[::2]:
                call.cancel()
            for call in calls[1::2]:
                assert call.result().outputs["y"].float_val == [2.5]
    assert seen.grown < 64 * MIB


@pytest.mark.parametrize(
    "sent", [b"", b"PRI * HTTP/2.0\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_connections_that_stop_half_way_into_their_protocol(target: Target, channel: grpc.Channel, sent: bytes) -> None:
    request = predict_pb2.PredictRequest(model_spec={"name": "half_plus_two"})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    for attempt in target.attempts():
        with attempt as seen, ExitStack() as stack:
            for _ in range(200):
                send(stack.enter_context(socket.create_connection(("127.0.0.1", target.grpc), PATIENCE)), sent)
            assert stub(channel).Predict(request, PATIENCE).outputs["y"].float_val == [2.5]
    assert seen.grown < 64 * MIB
