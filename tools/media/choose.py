"""Which packets an index needs decoded.

Measured on 720p H.264 with a key frame every two seconds, two cores: decoding every picture runs at about 21 times real
time, the key frames alone at about 83 times. So groups of pictures that are short against the sampling period give
their key frame only, and the rest of such a group is not even given to the decoder; of longer groups the pictures are
skipped that no other one refers to.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from av.codec.context import CodecContext
from av.packet import Packet
from av.video.stream import VideoStream

from tools.media.container import packet_time

#: Key frames serve as the samples while they are at most this many sampling periods apart.
KEY_FRAME_PERIODS = 2.0
#: Share of a sampling period that must have passed before another key frame is decoded.
KEY_FRAME_SHARE = 0.75
_MAX_THREADS = 8


@dataclass(frozen=True)
class Choice:
    """A packet to decode and what the decoder may skip then."""

    packet: Packet[VideoStream]
    skip: Literal["DEFAULT", "NONREF"]


def choose_packets(packets: Iterator[Packet[VideoStream]], base: float, period: float) -> Iterator[Choice]:
    """The packets of a stream to decode for a picture about every ``period`` seconds, in decoding order.

    At most `KEY_FRAME_PERIODS` periods of packets are held back at a time.

    Args:
        packets: of one stream from its start, without empty ones.
        base: seconds of one timestamp unit.
        period: seconds.
    """
    gap = KEY_FRAME_PERIODS * period + base
    held: list[Packet[VideoStream]] = []  # of the current group, not given out so far
    whole = False  # the current group is given out as it comes
    key = 0  # timestamp at which the current group starts to be decodable
    last = -math.inf  # seconds of the last key frame given out
    for packet in packets:
        stamp = packet_time(packet) or 0
        time = stamp * base
        if packet.is_keyframe:
            held, whole, key = [], False, stamp
            if time - last >= KEY_FRAME_SHARE * period - base:
                last = time
                yield Choice(packet, "DEFAULT")
            else:
                held.append(packet)
        elif whole:
            yield Choice(packet, "NONREF")
        elif last > -math.inf and stamp >= key:
            # Pictures shown before their group's key frame need the group before, which may not have been decoded.
            held.append(packet)
            if time - last > gap and held[0].is_keyframe:
                # The key frame that seemed too close to the one before is needed after all.
                first = held.pop(0)
                last = (packet_time(first) or 0) * base
                yield Choice(first, "DEFAULT")
            if time - last > gap:
                whole = True
                yield from (Choice(waiting, "NONREF") for waiting in held)
                held = []


def use_threads(context: CodecContext) -> None:
    """Sets a decoder up for a pass over the whole file: pictures decode in parallel."""
    context.thread_type = "AUTO"
    context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)
