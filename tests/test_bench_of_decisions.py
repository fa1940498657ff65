"""The benchmarks of mass liquidations and of the journal, small: they check what they time."""

from tidegate.lab.bench import decide, journal


def test_a_mass_liquidation_is_measured_in_its_parts():
    state, stack = decide.fallen("guarded", 400, 100, 0.2)
    at = decide.SECOND
    event = decide.PriceObserved(ts=at, instrument=0, source=0, price=decide.TO, published=at)
    before = state.digest()
    effects = decide.decide(state, event, stack)
    assert state.digest() == before
    decide._must_close(effects, 100, 0.2)


def test_a_journal_is_measured_beside_plainer_ones():
    records = [journal.Record(n, journal._price(n), journal._effects(n)) for n in range(2_500)]
    ours = journal._ours(records)
    assert len(ours.commits) == 2
    assert 0 < sum(ours.commits) <= ours.seconds
    assert journal._raw(records[:3]) > 0
    assert journal._rows(records[:3]) > 0
