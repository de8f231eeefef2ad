"""The chat reasoner inside a real agent: whatever the model's server does, the question gets its answer."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chat_server import Reply, Server, completion, drops, fails, says, serving, sleeps
from fastapi import Response

from agents.agent import Agent
from agents.answer import Answer
from agents.chat.prompts import hashes
from agents.events import Trace
from agents.question import Budget, Question
from agents.reasoners.chat import ChatReasoner
from agents.replay import replay
from agents.trace import TraceStore

QUESTION = Question(text="What is written on screen right after the speaker mentions the lighthouse?")
_EVIDENCE = re.compile(r"- (e\d+): (\w+), v\d \S+, by (\w+).*?: <<<(.*?)>>>")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


def clever(request: dict[str, Any]) -> Response:
    """Plays a model that understands the prompts: it plans, reads where the caption is, and cites it."""
    text = request["messages"][1]["content"]
    evidence = [match for match in _EVIDENCE.findall(text) if "1887" in match[3]]
    if text.startswith("Split"):
        parts = [
            {"text": "When is the lighthouse mentioned?", "kinds": ["speech"], "query": "lighthouse"},
            {"text": "What is written then?", "kinds": ["text"], "query": "built", "when": "right after q1"},
        ]
        return completion(json.dumps({"sub_questions": parts}))
    if text.startswith("Choose"):
        if any(tool == "read" for _, _, tool, _ in evidence):
            return completion(json.dumps({"actions": [{"tool": "finish", "reason": "it is read"}]}))
        if not evidence:
            search = {"tool": "search", "sub_question": "q2", "query": "built"}
            return completion(json.dumps({"actions": [search]}))
        segment = re.search(rf"- (s\d+): .*, around {evidence[0][0]}\b", text)
        assert segment is not None
        look = {"tool": "read", "sub_question": "q2", "segment": segment[1], "size": "large", "rate": "sparse"}
        return completion(json.dumps({"actions": [look]}))
    cited = [name for name, _, tool, _ in evidence if tool == "read"] or [evidence[0][0]]
    reply = {
        "found": True,
        "answer": f"It says that it was built in 1887 by Henrik Olsen [{cited[0]}].",
        "claims": [{"text": "Built 1887 by Henrik Olsen", "evidence": cited[:1], "sub_question": "q2"}],
        "confidence": 0.9,
    }
    return completion(json.dumps(reply))


def sloppy(request: dict[str, Any]) -> Response:
    """Gets it right only when it is told what was wrong."""
    return clever(request) if len(request["messages"]) > 2 else completion("Sure! {here it is")


def ask(make_agent: Callable[..., Agent], reasoner: ChatReasoner, question: Question = QUESTION) -> Answer:
    return asyncio.run(make_agent(reasoner=reasoner).ask(question))


def chat(server: Server, reply: Reply, **options: Any) -> ChatReasoner:
    server.will(reply)
    return ChatReasoner("tiny", **({"base_url": server.url, "timeout_s": 20, "max_retries": 0} | options))


def thoughts(trace: Trace) -> list[str]:
    return [event.note or "" for event in trace.events if event.node in ("plan", "choose") or event.data.get("draft")]


@pytest.mark.parametrize("reply", [clever, sloppy])
def test_a_model_leads_the_agent_to_a_proven_answer(
    running: Server, make_agent: Callable[..., Agent], traces: TraceStore, reply: Reply
) -> None:
    answer = ask(make_agent, chat(running, reply))
    assert answer.answer == "It says that it was built in 1887 by Henrik Olsen (at 00:46)."
    assert answer.verdict == "grounded"
    assert [(citation.start, citation.end, citation.verdict) for citation in answer.citations] == [
        (46, 58, "confirmed")
    ]
    assert answer.cost.llm_tokens_in == 11 * len(running.requests)
    assert answer.cost.llm_tokens_out == 7 * len(running.requests)
    trace = traces.open(answer.trace_id)
    assert trace.info.model == "tiny"
    assert trace.info.prompts == hashes()
    assert trace.cost().llm_tokens_in == answer.cost.llm_tokens_in
    repaired = [note for note in thoughts(trace) if "was repaired" in note]
    assert bool(repaired) == (reply is sloppy)
    assert [note for note in thoughts(trace) if "rules took over" in note] == []


@pytest.mark.parametrize(
    ("reply", "options", "said"),
    [
        (says("no"), {}, "nor the repaired one"),
        (says({"actions": [{"tool": "read", "segment": "s999"}]}), {}, "nor the repaired one"),
        (sleeps, {"timeout_s": 0.2}, "did not reply within"),
        (drops, {}, "could not be asked"),
        (fails, {}, "out of memory"),
    ],
    ids=["malformed", "wrong", "slow", "dropped", "http500"],
)
def test_when_the_model_fails_the_rules_answer_and_say_so(
    running: Server,
    make_agent: Callable[..., Agent],
    traces: TraceStore,
    reply: Reply,
    options: dict[str, Any],
    said: str,
) -> None:
    answer = ask(make_agent, chat(running, reply, **options))
    by_rules = asyncio.run(make_agent().ask(QUESTION))
    assert answer.answer == by_rules.answer
    assert answer.citations == by_rules.citations
    assert any(said in note and "the rules took over" in note for note in answer.notes)
    notes = thoughts(traces.open(answer.trace_id))
    assert all("the rules took over" in note for note in notes if note and "looked at" not in note)


def test_a_model_that_invents_evidence_is_not_believed(
    running: Server, make_agent: Callable[..., Agent], traces: TraceStore
) -> None:
    def liar(request: dict[str, Any]) -> Response:
        if not request["messages"][1]["content"].startswith("Write"):
            return clever(request)
        claim = {"text": "It says GOLD", "evidence": ["e999"], "sub_question": "q2"}
        return completion(json.dumps({"found": True, "answer": "GOLD", "claims": [claim], "confidence": 1}))

    answer = ask(make_agent, chat(running, liar))
    assert "GOLD" not in answer.model_dump_json()
    assert "1887" in answer.answer
    assert any("there is no evidence e999" in note for note in answer.notes)


def test_the_limit_on_language_model_tokens_holds(
    running: Server, make_agent: Callable[..., Agent], traces: TraceStore
) -> None:
    question = QUESTION.model_copy(update={"budget": Budget(llm_tokens=30)})
    answer = ask(make_agent, chat(running, clever), question)
    assert answer.stopped == "budget"
    assert answer.cost.llm_tokens_in + answer.cost.llm_tokens_out < 30 + 18


def test_a_run_with_a_model_is_replayed_without_it(
    running: Server, make_agent: Callable[..., Agent], traces: TraceStore
) -> None:
    answer = ask(make_agent, chat(running, sloppy))
    running.will(fails)
    again = asyncio.run(replay(traces.open(answer.trace_id)))
    assert running.requests == []
    assert again.differences == ()
    assert again.answer.cost.llm_tokens_in == answer.cost.llm_tokens_in
    assert again.answer.notes == answer.notes
