"""One completion: the request, and what is read from the events of its answer at known instants."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from fake_server import Reply, serving

from capacity.errors import DependencyError
from capacity.measurement.completions import Prompt, _seen, complete
from capacity.measurement.http import Address, parse_address, session
from capacity.profile.llm_runs import SeenRequest

ADDRESS = parse_address("http://127.0.0.1:1/v1/completions?key=secret", "--llm")
PROMPT = Prompt(model="m", tokens=(7, 8, 9), output_tokens=2)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


def chunk(text: str = "a", usage: object = None) -> dict[str, Any]:
    return {"choices": [{"text": text}], "usage": usage}


def seen(*events: object) -> SeenRequest:
    """The request sent at 0.5 s whose events come a second apart, the first at 1 s."""
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return _seen(0.5, [(1.0 + k, b"data: " + line) for k, line in enumerate(lines)], ADDRESS)


def failure(*events: object) -> str:
    with pytest.raises(DependencyError) as caught:
        seen(*events)
    return str(caught.value)


def test_a_request_asks_for_a_stream_of_exactly_that_many_tokens() -> None:
    assert json.loads(PROMPT.body) == {
        "model": "m",
        "prompt": [7, 8, 9],
        "max_tokens": 2,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_each_token_has_the_instant_of_its_event() -> None:
    three = {"prompt_tokens": 3, "completion_tokens": 3}
    found = seen(chunk(), chunk(), chunk(), {"choices": [], "usage": three}, b"[DONE]", chunk())
    assert (found.input_tokens, found.output_tokens) == (3, 3)
    assert (found.start_s, found.first_s, found.last_s, found.gaps_s) == (0.5, 1.0, 3.0, (1.0, 1.0))


def test_the_usage_of_an_earlier_event_is_kept() -> None:
    assert seen(chunk(), chunk(usage=USAGE), {"choices": []}).output_tokens == 2


def test_a_single_token_is_both_first_and_last() -> None:
    found = seen(chunk(), chunk(usage={"prompt_tokens": 1, "completion_tokens": 1}))
    assert (found.input_tokens, found.output_tokens, found.first_s, found.last_s) == (1, 1, 1.0, 1.0)


@pytest.mark.parametrize(
    ("last", "last_s"),
    [
        ({"choices": [{"text": ""}]}, 2.0),
        ({"choices": [{"text": ""}, "another"]}, 2.0),
        ({"choices": [{"text": "b"}]}, 3.0),
        ({"choices": [{"finish_reason": "length"}]}, 3.0),
        ({"choices": ["stop"]}, 3.0),
        ({"choices": {"text": ""}}, 3.0),
    ],
)
def test_only_a_chunk_with_an_empty_text_may_carry_no_token(last: object, last_s: float) -> None:
    assert seen(chunk(), chunk(usage=USAGE), last).last_s == last_s


def test_an_empty_text_is_a_token_where_each_chunk_has_one() -> None:
    assert seen(chunk(), chunk("", usage=USAGE)).last_s == 2.0


@pytest.mark.parametrize(
    "event", [b"", b"{", b"3", b"[1]", b'"text"', b"[" * 100_000], ids=lambda value: value[:9].decode()
)
def test_an_event_that_is_not_an_object_is_refused(event: bytes) -> None:
    assert failure(event) == (
        "http://127.0.0.1:1/v1/completions sent an event that is no JSON object; is it OpenAI-compatible?"
    )


def test_an_error_of_the_server_is_cut_after_120_characters() -> None:
    assert failure({"error": "x" * 500, "choices": []}).endswith(f" sent an error: {'x' * 120}")


@pytest.mark.parametrize("count", [None, True, 0, -1, 1.5, "2"])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_count_of_tokens_is_a_whole_number_of_1_or_more(name: str, count: object) -> None:
    assert f"does not say how many tokens there were (usage.{name})" in failure(
        chunk(usage=USAGE | {name: count})
    )


def test_a_usage_that_is_not_an_object_is_refused() -> None:
    assert "(usage.prompt_tokens)" in failure(chunk(usage=[1, 2]))


STREAM = b"".join(
    b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in (chunk(), chunk(), {"usage": USAGE})
)


def completed(answer: Callable[[str, bytes], Reply]) -> tuple[SeenRequest, int]:
    """The completion by a server of these answers, and how often the server was asked."""

    async def asked(address: Address) -> SeenRequest:
        async with session(5.0) as client:
            return await complete(client, address, PROMPT)

    with serving(answer) as server:
        return asyncio.run(asked(parse_address(f"{server.url}/v1/completions", "--llm"))), len(server.asked)


def test_a_closed_connection_is_opened_again_once() -> None:
    replies = iter([Reply(raw=b""), Reply(body=STREAM)])
    found, times = completed(lambda *_: next(replies))
    assert (found.output_tokens, times) == (2, 2)
    asked = []
    with pytest.raises(DependencyError, match="cannot be reached"):
        completed(lambda *_: asked.append(1) or Reply(raw=b""))
    assert len(asked) == 2


def test_a_new_connection_is_opened_where_all_that_were_kept_are_closed() -> None:
    async def asked() -> list[int]:
        at_once = asyncio.Barrier(3)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"}}")
            if len(opened) < 3:
                opened.append(writer)
                await at_once.wait()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(STREAM)}\r\n\r\n"
            writer.write(head.encode() + STREAM)
            await reader.read(1)  # hangs up where it would have to answer again
            writer.close()

        opened: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        address = parse_address(f"http://127.0.0.1:{port}/v1/completions", "--llm")
        async with server, session(5.0) as client:
            first = await asyncio.gather(*(complete(client, address, PROMPT) for _ in range(3)))
            return [one.output_tokens for one in (*first, await complete(client, address, PROMPT))]

    assert asyncio.run(asked()) == [2, 2, 2, 2]


def test_an_answer_is_read_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.measurement.completions.ANSWER_BYTES_MAX", len(STREAM))
    assert completed(lambda *_: Reply(body=STREAM))[0].input_tokens == 3
    with pytest.raises(DependencyError, match=f"sent more than {len(STREAM)} bytes"):
        completed(lambda *_: Reply(body=STREAM + b"\n"))


def test_redirects_are_not_followed() -> None:
    with serving(lambda *_: Reply(body=STREAM)) as other:
        moved = Reply(status=307, headers={"Location": f"{other.url}/v1/completions"})
        with pytest.raises(DependencyError, match="which is not followed"):
            completed(lambda *_: moved)
    assert other.asked == []
