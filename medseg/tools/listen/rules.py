"""``rules.json``: who may send, which series goes to which model, and where the results go."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medseg.core.errors import FormatError
from medseg.core.records import Record
from medseg.tools.listen.instances import Facts

# DICOM PS3.5, 6.2: at most 16 characters of the default repertoire, no backslash; blanks at the ends mean nothing.
AE_TITLE = r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$"
AeTitle = Annotated[str, Field(pattern=AE_TITLE)]
# Such a name becomes a folder.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class Archive(Record):
    """Where objects are sent, or earlier studies fetched from: by DIMSE (``host``) or by DICOMweb (``url``).

    Args:
        ae_title, host, port: of a C-STORE SCP.
        url: of a DICOMweb service, such as ``https://pacs.example/dicom-web``.
        user, password_file: for HTTP basic authentication; the file's first line is the password.
    """

    ae_title: AeTitle | None = None
    host: str | None = Field(default=None, min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    url: str | None = Field(default=None, pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$")
    user: str | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        dimse = (self.ae_title, self.host, self.port)
        if self.url is None and None in dimse:
            raise ValueError("an archive has ae_title, host and port, or a url")
        if self.url is not None and any(part is not None for part in dimse):
            raise ValueError("an archive has ae_title, host and port, or a url, not both")
        if (self.user is None) != (self.password_file is None) or (self.user is not None and self.url is None):
            raise ValueError("user and password_file belong together, and to a url")
        return self


class Earlier(Record):
    """Earlier studies of the patient, which are fetched and segmented too.

    Args:
        archive: which one has them; one with a url.
        studies: how many at most, the latest first.
    """

    archive: Name
    studies: int = Field(default=1, ge=1, le=20)


class Rule(Record):
    """Which series a model segments, and what becomes of the results; what is empty asks for nothing.

    Args:
        name: for folders and messages.
        modality: CT, MR, PT, ...
        body_part, description: patterns of BodyPartExamined and SeriesDescription, ``*thorax*``, capitals aside.
        model: its folder.
        formats: as ``medseg predict --format`` takes them; those of DICOM are sent.
        channels: which series is which channel, as ``medseg predict --channels`` takes it.
        earlier: whether earlier studies are fetched.
        send_to: archives.
    """

    name: Name
    modality: str = Field(default="", pattern=r"^[A-Z]{0,16}$")
    body_part: str = ""
    description: str = ""
    model: Path
    formats: tuple[str, ...] = Field(default=("dicom-seg", "sr"), min_length=1)
    channels: str | None = None
    earlier: Earlier | None = None
    send_to: tuple[Name, ...] = ()

    def fits(self, series: Facts) -> bool:
        """Whether a series is one that the rule asks for."""
        return (
            self.modality in ("", series.modality)
            and _matches(self.body_part, series.body_part)
            and _matches(self.description, series.description)
        )


class Limits(Record):
    """What senders may use of this machine.

    Args:
        associations: at one time.
        instance_mb: of one instance, 10^6 bytes; so much memory may each association take.
        queue_gb: of the queue's folder, 10^9 bytes; the oldest cases that are done go first, then nothing is accepted.
        keep_days: how long cases that are done are kept.
        sending_attempts: how often an object is sent before its case counts as failed.
    """

    associations: int = Field(default=8, ge=1, le=256)
    instance_mb: float = Field(default=1000, gt=0)
    queue_gb: float = Field(default=100, gt=0)
    keep_days: float = Field(default=7, ge=0)
    sending_attempts: int = Field(default=10, ge=1)


class Rules(Record):
    """The whole of ``rules.json``.

    Args:
        senders: AE titles that may send; all others are turned away.
        complete: what is segmented at once: a ``series``, or a ``study``, for models of several channels.
        rules: each that fits is applied.
        archives: by name.
        limits: see there.
    """

    senders: tuple[AeTitle, ...] = Field(min_length=1)
    complete: Literal["series", "study"] = "series"
    rules: tuple[Rule, ...] = Field(min_length=1)
    archives: dict[Name, Archive] = Field(default_factory=dict)
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError(f"two rules of one name among {', '.join(names)}")
        known = ", ".join(self.archives) or "none"
        for rule in self.rules:
            for name in rule.send_to:
                if name not in self.archives:
                    raise ValueError(f"the rule {rule.name} sends to {name}, the archives are {known}")
            if rule.earlier is None:
                continue
            if rule.earlier.archive not in self.archives or self.archives[rule.earlier.archive].url is None:
                raise ValueError(
                    f"the rule {rule.name} fetches earlier studies from {rule.earlier.archive}, expected an archive"
                    f" with a url; the archives are {known}"
                )
        return self

    def find(self, name: str) -> Rule | None:
        """The rule of a name; None where it was taken out of the file."""
        return next((rule for rule in self.rules if rule.name == name), None)


def read_rules(path: str | Path) -> Rules:
    """The rules in a file, with paths that count from its folder, each thing that they name looked for.

    Args:
        path: ``rules.json``.
    Returns:
        the rules.
    Raises:
        FormatError: no such record, with every fault; a password's file cannot be read.
        ModelError: a model is none.
        DatasetError: an unknown format, or a rule of channels that is none.
    """
    from medseg.inference.folders.writing import parse_formats
    from medseg.inference.model_folder import open_model
    from medseg.io.dicom.channel_rules import settle_rules

    path = Path(path)
    rules = Rules.read(path)
    settled = tuple(rule.model_copy(update={"model": path.parent / rule.model}) for rule in rules.rules)
    for rule in settled:
        parse_formats(",".join(rule.formats))
        settle_rules(open_model(rule.model).plan.channels, rule.channels)
    archives = {}
    for name, archive in rules.archives.items():
        file = None if archive.password_file is None else path.parent / archive.password_file
        if file is not None:
            read_password(file)
        archives[name] = archive.model_copy(update={"password_file": file})
    return rules.model_copy(update={"rules": settled, "archives": archives})


def read_password(path: Path) -> str:
    """The first line of a file; raises FormatError where there is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(
            f"the password cannot be read ({type(error).__name__})", code="no_password", file=path,
            remedy="Write it into the first line of that file, which nobody else may read",
        ) from None  # fmt: skip
    if not lines or not lines[0]:
        raise FormatError("its first line is empty", code="no_password", file=path, remedy="Write the password there")
    return lines[0]


def _matches(pattern: str, text: str) -> bool:
    return not pattern or fnmatchcase(text.casefold(), pattern.casefold())
