"""What random histories found, and is not to come back. What went wrong stands in each test."""

from tests.simulation.barrier_chaos import run_seed


def test_seed_80_freeze_unknown_to_the_other_side_of_a_shared_storage() -> None:
    """Older content under live/ was put into the registry by the station that refused to show it."""
    run_seed(80)


def test_seed_436_pause_is_no_restraint() -> None:
    """A station on the smaller side was stopped for 16 s, woke, and took its restraint for over."""
    run_seed(436)


def test_seed_291_newer_content_of_a_lesser_number_at_a_restart() -> None:
    """A station started, took what a peer showed for its own, and refused its own as older."""
    run_seed(291)


def test_seed_1990_restart_without_storage_before_a_flip() -> None:
    """A station whose storage had failed forgot what it showed when it was killed before the next flip."""
    run_seed(1990)
