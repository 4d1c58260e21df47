"""What a server's policy answers: to one robot or to several at once, and why not where there is no answer.

In the thread of the policy. What is wrong with one question costs the others nothing: where a policy fails at several,
each is asked alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from segue.core.chunk import Array, ChunkPolicy, Gathering, surprise_of, surprises_of
from segue.core.observation import Cameras, Observation, Observed
from segue.errors import SegueError, WireError
from segue.links import jpeg, messages
from segue.links.floods import Sparing
from segue.links.messages import Question


@dataclass(frozen=True, eq=False)
class Asked:
    """What one client waits for.

    Attributes:
        question: To be answered; None if it is only to be told that its episode was forgotten.
        forget: Whether the policy is reset before.
        arrived: By the monotonic clock [s].
    """

    question: Question | None
    forget: bool
    arrived: float


@dataclass(frozen=True)
class Replied:
    """What came of it.

    Attributes:
        reply: Frame for the client; None where it asked nothing.
        ready: False where the policy could not be reset.
    """

    reply: bytes | str | None
    ready: bool = True


class Answers:
    """Asks a policy. For one thread.

    Args:
        policy: Makes the chunks.
        say: Log of what goes wrong.
    """

    def __init__(self, policy: ChunkPolicy, say: Sparing) -> None:
        self.policy, self._say = policy, say

    def to(self, batch: Sequence[Asked]) -> list[Replied]:
        """Answer each of several clients, in their order."""
        started = time.monotonic()
        replies: list[Replied | None] = [None] * len(batch)
        asked: list[tuple[int, Question, Observed, float]] = []
        for place, each in enumerate(batch):
            found = self._begun(each, started)
            if isinstance(found, Replied):
                replies[place] = found
            else:
                asked.append((place, *found, started - each.arrived))
        for (place, *_), reply in zip(asked, self._chunks(asked), strict=True):
            replies[place] = Replied(reply)
        return [each for each in replies if each is not None]

    def reset(self) -> bool:
        """Let the policy forget the last episode, and tell whether it did."""
        try:
            self.policy.reset()
        except Exception:
            self._say.tell("the policy failed to reset", traceback=True)
            return False
        return True

    def _begun(self, asked: Asked, started: float) -> Replied | tuple[Question, Observed]:
        """Do what comes before an answer: return the observation, or why there is none."""
        question, ready = asked.question, not asked.forget or self.reset()
        if question is None:
            return Replied(None, ready)
        if not ready:
            return Replied(messages.refusal("policy-failed", identity=question.id, cause="it cannot be reset"), ready)
        if question.deadline is not None and started - asked.arrived > question.deadline:
            return Replied(messages.refusal("expired", identity=question.id))
        try:
            return question, _observed(question, self.policy.spec.cameras)
        except WireError as error:
            self._say.tell("refused a picture", error.got)
            return Replied(messages.refusal(error.code, error.field, question.id, error.got))
        except Exception:
            self._say.tell("pictures cannot be decoded", traceback=True)
            return Replied(messages.refusal("refused", identity=question.id))

    def _chunks(self, asked: Sequence[tuple[int, Question, Observed, float]]) -> list[bytes | str]:
        started = time.monotonic()
        if len(asked) > 1 and isinstance(self.policy, Gathering):
            try:
                continuations = [question.continuation for _, question, _, _ in asked]
                chunks = self.policy.chunks([seen for _, _, seen, _ in asked], continuations)
                surprises = surprises_of(self.policy, len(asked))
            except Exception:  # of one of them, perhaps: it will be seen which
                self._say.tell("failed at several questions together", traceback=True)
            else:
                done = time.monotonic() - started
                return [
                    self._encoded(chunk, question, done, waited, surprise)
                    for chunk, (_, question, _, waited), surprise in zip(chunks, asked, surprises.tolist(), strict=True)
                ]
        return [self._alone(question, seen, waited) for _, question, seen, waited in asked]

    def _alone(self, question: Question, seen: Observed, waited: float) -> bytes | str:
        started = time.monotonic()
        try:
            chunk = self.policy.next_chunk(seen, question.continuation)
            return self._encoded(chunk, question, time.monotonic() - started, waited, surprise_of(self.policy))
        except Exception as error:
            code = "refused" if isinstance(error, SegueError) else "policy-failed"
            self._say.tell(f"{code} by the policy", traceback=True)
            return messages.refusal(code, identity=question.id)

    def _encoded(self, chunk: Array, question: Question, took: float, waited: float, surprise: float) -> bytes | str:
        timing = {"infer_ms": 1e3 * took, "wait_ms": 1e3 * waited}
        try:
            return messages.encode_answer(chunk, question, self.policy.spec, timing, surprise)
        except WireError as error:
            cause = f"{error.got}; expected: {error.expected}"
            self._say.tell("the policy answers what cannot be sent", cause)
            return messages.refusal("bad-answer", error.field, question.id, cause)


def together(one: Question | None, other: Question | None) -> bool:
    """Tell whether two questions can be answered in one call: of a batch, the task in words is one."""
    return one is not None and other is not None and one.prompt == other.prompt


def _observed(question: Question, cameras: Cameras) -> Observed:
    """Return the observation of a question, its files decoded."""
    if not cameras:
        return question.observation
    return Observation(question.observation, jpeg.decoded(question.pictures, cameras), question.prompt)
