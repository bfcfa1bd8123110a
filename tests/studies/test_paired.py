"""Paired statistics against scipy's, and against cases that can be counted by hand."""

import math

import numpy as np
import pytest
import scipy.stats

from flambeau.objectives.intervals import holm
from flambeau.studies import paired


@pytest.mark.parametrize(("one", "other"), [(0, 5), (3, 9), (12, 30), (7, 7)])
def test_mcnemar_is_the_exact_binomial_test(one, other):
    exact = scipy.stats.binomtest(one, one + other, 0.5).pvalue
    assert paired.mcnemar(one, other) == pytest.approx(exact, abs=1e-12)
    flipped = np.array([1.0] * one + [-1.0] * other + [0.0] * 40)
    assert paired.sign_flip(flipped) == pytest.approx(exact, abs=1e-12)  # of right and wrong they are one test


def test_sign_flips_are_counted_where_they_are_few_and_drawn_where_they_are_many():
    few = np.array([0.3, -0.1, 0.7, 0.2, 0.9, -0.4, 0.5])

    def total(x, axis):
        return x.sum(axis)

    exact = scipy.stats.permutation_test((few,), total, permutation_type="samples", n_resamples=np.inf, axis=0).pvalue
    assert paired.sign_flip(few) == pytest.approx(exact, abs=1e-12)
    many = np.random.default_rng(0).normal(0.15, 1, 200)
    normal = 2 * scipy.stats.norm.sf(abs(many.sum()) / math.sqrt(np.square(many).sum()))
    error = math.sqrt(normal * (1 - normal) / paired.FLIPS)
    assert paired.sign_flip(many) == pytest.approx(normal, abs=4 * error + 1 / 200)  # 200 of them are nearly normal


def test_seeds_are_paired_as_students_t_test_pairs_them():
    ours, theirs = [0.91, 0.93, 0.90], [0.90, 0.90, 0.88]
    found, exact = paired.by_seed(ours, theirs), scipy.stats.ttest_rel(ours, theirs)
    low, high = exact.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx((exact.pvalue, low, high))
    assert math.isnan(paired.by_seed([0.9], [0.8]).p)


def test_a_bootstrap_of_means_has_the_interval_of_means():
    values = np.random.default_rng(1).normal(0.3, 1, 400)
    drawn = np.array([values[rows].mean() for rows in paired.resamples(len(values))])
    found = paired.of_resamples(float(values.mean()), drawn)
    error = values.std(ddof=1) / math.sqrt(len(values))
    # the 2.5 % quantile of 1,000 draws is known to about 0.08 standard errors
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)
    assert found.p < 0.01 and paired.of_resamples(0.0, drawn - values.mean()).p == 1.0


def test_neighbours_are_drawn_together():
    for rows in paired.resamples(10, neighbours=4):
        assert all({4 * (row // 4)} <= {*rows.tolist()} for row in rows.tolist()) and rows.max() < 10


def test_holm_adjusts_as_scipys_peers_do_and_leaves_what_was_not_tested():
    assert holm([0.01, math.nan, 0.04, 0.03])[0] == pytest.approx(0.03)
    assert holm([0.04, 0.5]) == pytest.approx([0.08, 0.5])
    assert holm([]) == []
