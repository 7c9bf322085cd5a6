"""A random source whose bytes do not depend on the Python version (SplitMix64).

The corpus, the held-out prompts and the quickstart data must come out byte for byte from a seed,
so nothing here uses the standard library's generator, whose helper methods have changed before.
"""

_MASK = (1 << 64) - 1


class Rng:
    def __init__(self, seed):
        self.state = seed & _MASK

    def next(self):
        """The next 64 random bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n):
        """A whole number in 0 .. n-1."""
        return (self.next() * n) >> 64

    def between(self, low, high):
        """A whole number in low .. high, both ends included."""
        return low + self.below(high - low + 1)

    def chance(self, probability):
        return self.next() < probability * 2.0**64

    def pick(self, choices):
        return choices[self.below(len(choices))]

    def sample(self, choices, count):
        """`count` different positions of `choices`, in random order."""
        taken = []
        while len(taken) < count:
            index = self.below(len(choices))
            if index not in taken:
                taken.append(index)
        return [choices[index] for index in taken]

    def shuffle(self, items):
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def weighted(self, table):
        """A key of `table`, a dict of key -> positive whole weight."""
        ticket = self.below(sum(table.values()))
        for key, weight in table.items():
            if ticket < weight:
                return key
            ticket -= weight
        raise AssertionError("weights do not add up")
