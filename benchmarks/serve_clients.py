"""Kinds of clients that leave, wait or do not read. See serve_kinds.py."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

from serve_kinds import DROPPED, LIMITS, OK, Case, Maker, World, whole
from serve_wire import good


def broken_off(drawn: random.Random, world: World) -> Case:
    """Leave: in the head, in the body, while it is answered; with a reset or politely; or say nothing."""
    sent = whole(good(drawn, world), world.token)
    at = drawn.choice([0, 1, drawn.randrange(len(sent)), len(sent) - 1, len(sent)])
    return Case(
        [sent[:at]], DROPPED, answers=0, end=drawn.choice(["reset", "reset", "close"]), pause=drawn.choice([0.0, 0.05])
    )


def half_closed(drawn: random.Random, world: World) -> Case:
    """Close the sending side and still read."""
    return Case([whole(good(drawn, world), world.token)], (200, *DROPPED), end="half")


def slow(drawn: random.Random, world: World) -> Case:
    """Clients that drip: in time, too late, or for ever."""
    sent = whole(good(drawn, world), world.token)
    if drawn.random() < 0.7:
        size = -(-len(sent) // 20)
        return Case([sent[begin : begin + size] for begin in range(0, len(sent), size)], OK, pause=0.05)
    at = drawn.choice([10, sent.index(b"\r\n\r\n") + 4, len(sent) - 5])
    return Case([sent[:at]], (408, *DROPPED), end="wait")


def unread(drawn: random.Random, world: World) -> Case:
    """Ask much and read none of it."""
    text = ". " * (LIMITS["chars"] // 2)
    body = json.dumps({"model": drawn.choice(world.token_models), "texts": [text] * 4}).encode()
    return Case([whole(body, world.token)], DROPPED, answers=0, end=drawn.choice(["reset", "close"]), pause=0.5)


CLIENTS: Mapping[str, tuple[float, Maker]] = {
    "broken off": (6, broken_off),
    "half closed": (1, half_closed),
    "slow clients": (2, slow),
    "answers not read": (0.3, unread),
}
