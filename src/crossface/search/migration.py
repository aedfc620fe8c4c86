"""Which models a gallery opens for, and its way from one model to another."""

from __future__ import annotations

from collections.abc import Iterable

from crossface.core.contract import EmbeddingContract
from crossface.core.errors import ContractMismatch, GalleryError
from crossface.core.log import get_logger
from crossface.search.people import Row
from crossface.search.records import Migration, Person
from crossface.search.store import Store, now


def check_opening(store: Store, contract: EmbeddingContract) -> None:
    """Refuse a model whose vectors cannot be compared with the gallery's.

    Raises:
        ContractMismatch: saying what to do.
    """
    primary, target = store.primary(), store.target()
    known = {primary.contract_id} | ({target.contract_id} if target else set())
    if contract.contract_id in known or known & set(store.searchable_by(contract)):
        return
    if primary.comparable_with(contract):
        advice = (
            "they share a space but were never measured together: run `crossface compat "
            f"{primary.model_id} {contract.model_id} --data ... --gallery {store.path.name}`, or "
            f"`crossface gallery migrate {store.path.name} --to MODEL`"
        )
    else:
        advice = (
            "their vectors cannot be compared: open the gallery with its own model, or run "
            f"`crossface gallery migrate {store.path.name} --to MODEL` and re-enrol people as "
            "they are seen again"
        )
    raise ContractMismatch(
        f"{store.path.name} was enrolled with {primary.model_id} (contract "
        f"{primary.contract_id}), this model is {contract.model_id} (contract "
        f"{contract.contract_id}); {advice}"
    )


def begin(store: Store, to: EmbeddingContract) -> None:
    """Start the way to another model, inside a transaction; nothing is lost or changed yet.

    Raises:
        GalleryError: if the gallery is already made for it, or on its way to a third model.
    """
    primary, target = store.primary(), store.target()
    if target is not None:
        if target.contract_id == to.contract_id:
            return
        raise GalleryError(
            f"{store.path.name} is already moving to {target.model_id} (contract "
            f"{target.contract_id}); finish that first"
        )
    if primary.contract_id == to.contract_id:
        raise GalleryError(f"{store.path.name} is already enrolled with {to.model_id}")
    store.add_contract(to)
    store.set_meta("migrating_to", to.contract_id.encode())
    store.log.append(now(), "migrate", detail={"from": primary.contract_id, "to": to.contract_id})
    if primary.contract_id not in store.searchable_by(to):
        get_logger("search").warning(
            "%s: people enrolled with %s are not found by %s until they are re-enrolled, since "
            "no measured record lets one search the other's templates",
            store.path.name,
            primary.model_id,
            to.model_id,
        )
    settle(store)


def settle(store: Store) -> None:
    """Finish a migration, inside a transaction, once no template of another model is left."""
    target = store.target()
    if target is None:
        return
    left = store.rows(
        "SELECT 1 FROM templates WHERE contract_id IS NOT ? LIMIT 1", (target.contract_id,)
    )
    if left:
        return
    store.set_meta("contract", target.contract_id.encode())
    store.set_meta("migrating_to", None)
    store.log.append(now(), "migrated", detail={"to": target.contract_id})


def progress(store: Store, everybody: Iterable[tuple[Row, Person]]) -> Migration:
    """How many people are enrolled with the model that enrols, and who is not."""
    model = store.enrolling()
    target = model.contract_id
    people = [person for _, person in everybody]
    waiting = tuple(
        person.name
        for person in people
        if any(template.contract_id != target for template in person.templates)
    )
    return Migration(target, len(people) - len(waiting), waiting, model.model_id)
