"""ArchivedPictures: what an archive holds already, for runs that need not draw it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safelight.archive import Archive
from safelight.archive_layout import packs_folder, records_folder
from safelight.pipeline import BackendDescription
from safelight.pipeline.continuation import finished_entries
from safelight.pipeline.drawn_before import DrawnBefore

__all__ = ["ArchivedPictures"]


class ArchivedPictures:
    """Finds variants that an archive's runs have drawn whole.

    Args:
        archive: The archive.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def find(
        self, identities: Sequence[str], engine: BackendDescription
    ) -> Mapping[str, DrawnBefore]:
        """Return identity -> the newest variant of that identity, of those whose files are there.

        Args:
            identities: What is looked for.
            engine: Its version must agree where both are known.

        Raises:
            ArchiveError: The archive cannot be asked.
        """
        if not identities or not _holds_anything(self._archive.path):
            return {}
        statement = (
            "SELECT i.identity, r.run_id, r.timestamp FROM images i JOIN runs r"
            " USING (run_id) WHERE i.identity IN (SELECT unnest(?)) AND r.backend = ?"
            " AND (? = '' OR coalesce(r.backend_version, '') IN ('', ?))"
            " GROUP BY ALL HAVING count(i.gone) = 0 ORDER BY r.timestamp"
        )
        parameters = [list(identities), engine.name, engine.version, engine.version]
        rows = self._archive.rows(statement, parameters)
        newest = {identity: run_id for identity, run_id, _ in rows}
        drawn: dict[str, DrawnBefore] = {}
        for record in self._archive.records(newest.values()):
            for _, entry, drawn_by in finished_entries(record, self._archive.path):
                wanted = newest.get(entry.identity) == record.run_id
                if wanted and entry.outputs and not entry.failures:
                    drawn[entry.identity] = DrawnBefore(
                        run_id=drawn_by,
                        config=entry.config,
                        outputs=entry.outputs,
                        identity=entry.identity,
                        environment=record.environment,
                    )
        return drawn


def _holds_anything(archive: Path) -> bool:
    return any(
        folder.is_dir() and any(folder.iterdir())
        for folder in (records_folder(archive), packs_folder(archive))
    )
