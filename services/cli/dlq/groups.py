"""The consumer groups, and which service's database holds the rows of each."""

from __future__ import annotations

from enum import StrEnum

from services.contracts import topics


class Group(StrEnum):
    """The consumer groups of this system."""

    ORCHESTRATOR = topics.ORCHESTRATOR_GROUP
    INVENTORY = topics.INVENTORY_GROUP
    PAYMENT = topics.PAYMENT_GROUP
    AUDIT = topics.AUDIT_GROUP
    NOTIFICATION = topics.NOTIFICATION_GROUP

    @property
    def service(self) -> str:
        """The service whose database holds the group's rows."""
        return self.name.lower() if self is not Group.ORCHESTRATOR else "oms"
