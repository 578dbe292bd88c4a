"""What was acknowledged: the objects of one client, each with the states it may be in.

An object has a set of possible states. An answer picks one; an operation that was in flight when the daemon was
killed leaves both, before and after, until somebody looks.
"""

from engine import Failure

ABSENT, CREATED, RUNNING, PAUSED, EXITED, THERE = "absent", "created", "running", "paused", "exited", "there"


class Thing:
    """A container, volume, network or tag."""

    def __init__(self, kind, name, states=(ABSENT,)):
        self.kind, self.name, self.states = kind, name, set(states)
        self.id = None           # of a container or a network, once it was answered; the image's of a tag
        self.facts = {}          # container: memory → possible values
        self.names = {name}      # container: possible names
        self.marks = []          # lines its log must have
        self.restart = False     # container: its restart policy is `unless-stopped`
        self.passing = False     # container: of `run --rm`, which ends and goes by itself
        self.network = None      # container: the Thing it is connected to, when it is one of the client's
        self.image = None        # tag: the image's id, when it is known
        self.doomed = False      # an end of it was asked for and never answered

    def __repr__(self):
        return f"{self.kind} {self.name} {sorted(self.states)}"

    def may_be(self, *states):
        return bool(self.states & set(states))

    def answered(self, doing, good, moves):
        """An operation was answered: `good` when it did something. `moves`: state → state after it; states that are
        no key are those in which it is refused."""
        if good:
            after = {moves[s] for s in self.states if s in moves}
        else:
            after = {s for s in self.states if s not in moves}
        if not after:
            raise Failure(f"{doing}: {'done' if good else 'refused'}, though it is {sorted(self.states)}: {self}")
        self.states = after

    def unanswered(self, *through):
        """It may have got anywhere on the way."""
        self.states |= set(through)

    def seen(self, doing, state):
        if state not in self.states:
            raise Failure(f"{doing}: {self.kind} {self.name} is {state}, but must be one of {sorted(self.states)}")
        self.states = {state}


class Model:
    """What one client made; only that client changes it, so it needs no lock."""

    def __init__(self):
        self.containers, self.volumes, self.networks, self.tags = [], [], [], []

    def all(self):
        return self.containers + self.volumes + self.networks + self.tags
