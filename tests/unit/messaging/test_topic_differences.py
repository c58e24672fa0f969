"""What of a topic is a difference, and what is not."""

import pytest

from services.contracts.topics import INVENTORY_COMMANDS, INVENTORY_GROUP
from services.messaging.topic_differences import Difference, FoundTopic, compare

DLQ, RETRY = "oms-inventory.dlq", "oms-inventory.retry"
SOURCE = {"cleanup.policy": "delete", "max.message.bytes": "1048588", "retention.ms": "604800000"}
LARGER = SOURCE | {"max.message.bytes": "1114124"}
KEPT = LARGER | {"retention.ms": "-1", "retention.bytes": "-1"}
EXPECTED = {INVENTORY_COMMANDS: FoundTopic(4, SOURCE), RETRY: FoundTopic(4, LARGER), DLQ: FoundTopic(4, KEPT)}


def test_topics_as_they_are_created_have_no_difference() -> None:
    """What `sagatrace topics` creates is as expected, and so is a broker that tells nothing but the partitions."""
    assert compare(INVENTORY_GROUP, EXPECTED) == []
    assert compare(INVENTORY_GROUP, dict.fromkeys(EXPECTED, FoundTopic(4, {}))) == []


@pytest.mark.parametrize(
    ("topic", "found", "differences"),
    [
        (INVENTORY_COMMANDS, FoundTopic(1, SOURCE), [("partitions", "4", "1")]),
        (INVENTORY_COMMANDS, FoundTopic(0, {}), [("partitions", "4", "0")]),
        (
            INVENTORY_COMMANDS,
            FoundTopic(4, SOURCE | {"cleanup.policy": "compact,delete"}),
            [("cleanup.policy", "delete", "compact,delete")],
        ),
        (
            INVENTORY_COMMANDS,
            FoundTopic(4, SOURCE | {"max.message.bytes": "1000"}),
            [("max.message.bytes", "1048588 or more", "1000")],
        ),
        (DLQ, FoundTopic(4, KEPT | {"retention.ms": "604800000"}), [("retention.ms", "-1", "604800000")]),
        (DLQ, FoundTopic(4, KEPT | {"retention.bytes": "1"}), [("retention.bytes", "-1", "1")]),
        (
            DLQ,
            FoundTopic(4, KEPT | SOURCE | {"retention.ms": "-1"}),
            [("max.message.bytes", "1114124 or more", "1048588")],
        ),
        (RETRY, FoundTopic(4, SOURCE), [("max.message.bytes", "1114124 or more", "1048588")]),
    ],
)
def test_each_setting_that_differs_is_a_difference(
    topic: str, found: FoundTopic, differences: list[tuple[str, str, str]]
) -> None:
    """Fewer partitions, none, compaction, a size that is too small, dead letters that end: each is one difference."""
    assert compare(INVENTORY_GROUP, EXPECTED | {topic: found}) == [Difference(topic, *each) for each in differences]


def test_dead_letters_have_to_take_what_their_source_takes() -> None:
    """A source that takes larger records than usual needs dead letters and retries that are larger still."""
    larger = FoundTopic(4, SOURCE | {"max.message.bytes": "5000000"})
    assert compare(INVENTORY_GROUP, EXPECTED | {INVENTORY_COMMANDS: larger}) == [
        Difference(name, "max.message.bytes", "5065536 or more", "1114124") for name in (RETRY, DLQ)
    ]
