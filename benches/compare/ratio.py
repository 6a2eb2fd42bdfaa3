"""Ratios of two sides that are measured in turn, and whether their rounds agree.

Two of the rounds' ratios enclose the true median with at least 95 % confidence, if there are at least six rounds (the interval of
the sign test). A claim is the largest accepted difference between the median and these two ratios. If both are within the claim, the
median is printed, otherwise both ratios. Example with a claim of 10 %: nine rounds have ratios from 1.35 to 1.47, the second is 1.36,
and the eighth is 1.46. They are printed as 1.41. If the eighth were 1.60, "varies, 1.36 to 1.60" would be printed.
"""

import math
import statistics

# The largest accepted factor between the median and an end of its interval, by what is measured.
CPU, TIME, PERCENTILE = 1.1, 1.1, 1.3


class Ratio:
    def __init__(self, values, claim):
        self.median = statistics.median(values)
        self.low, self.high = interval(values)
        self.is_stable = self.high <= self.median * claim and self.median <= self.low * claim

    def __str__(self):
        if self.is_stable:
            return figure(self.median)
        return f"varies, {figure(self.low)} to {figure(self.high)}"

    def verdict(self, is_met):
        """Whether the goal is reached. "unclear" if the rounds do not agree, and only one end of the interval reaches it."""
        if self.is_stable:
            return yes_or_no(is_met(self.median))
        ends = {is_met(self.low), is_met(self.high)}
        return yes_or_no(ends.pop()) if len(ends) == 1 else "unclear"


def figure(value):
    return f"{value:.2f}" if value < 20 else f"{value:.0f}"


def yes_or_no(is_met):
    return "yes" if is_met else "**no**"


def interval(values):
    """The ends of the interval, such as the second and the eighth of nine values. Of fewer values: the smallest and the largest."""
    values, cut = sorted(values), 0
    while tail(len(values), cut + 1) <= 0.025:
        cut += 1
    return values[cut], values[-1 - cut]


def tail(number, at_most):
    """The probability that at most `at_most` of `number` coins show heads."""
    return sum(math.comb(number, heads) for heads in range(at_most + 1)) / 2**number


def per_round(rows, name, ours, other, value, claim):
    """The value of `ours` divided by that of `other`, in each round."""
    by_round = {}
    for row in rows:
        by_round.setdefault(row["round"], {})[row[name]] = value(row)
    return Ratio([values[ours] / values[other] for values in by_round.values()], claim)
