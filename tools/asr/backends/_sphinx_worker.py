"""A process with one pocketsphinx decoder: sound in, words out.

`PocketSphinx` runs it as a program. It imports nothing of Loupe, so that it starts fast. Its argument is a JSON object
with the decoder's settings. Each message on standard input, 16-bit sound at 16 kHz, is answered with a JSON list of
``[word, start, end, score]``, in seconds; every message is preceded by its length in four bytes.
"""

import json
import re
import struct
import sys
from typing import IO, Any

_LENGTH = struct.Struct("!I")
#: Silence, noises and sentence borders, which the decoder lists among the words.
_FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
#: The mark of a second pronunciation: "the(2)".
_VARIANT = re.compile(r"\(\d+\)$")


def main(source: IO[bytes], sink: IO[bytes], settings: dict[str, Any]) -> None:
    """Answers messages until the source ends."""
    from pocketsphinx import Decoder

    decoder = Decoder(loglevel="FATAL", **settings)
    rate = decoder.config["frate"]
    while len(header := source.read(_LENGTH.size)) == _LENGTH.size:
        sound = source.read(_LENGTH.unpack(header)[0])
        # Forgets the sound before, so that the same sound always gives the same words.
        decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw(sound, full_utt=True)
        decoder.end_utt()
        words = [
            [
                _VARIANT.sub("", segment.word),
                segment.start_frame / rate,
                (segment.end_frame + 1) / rate,
                min(1.0, segment.prob),
            ]
            for segment in (decoder.seg() or ())
            if not _FILLER.fullmatch(segment.word)
        ]
        answer = json.dumps(words).encode()
        sink.write(_LENGTH.pack(len(answer)) + answer)
        sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, json.loads(sys.argv[1]))
