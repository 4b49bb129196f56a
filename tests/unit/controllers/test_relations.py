"""Inputs as data: what a key sees, and what lets it be decided again, beside a model that looks at everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api import ControllerSpec, Metadata, Node, Object, OwnerReference, Scope, Unit
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey, key_of
from rube.api.types import pack
from rube.api.well_known import NODE_TYPE, UNIT_TYPE
from rube.client import Change, Informer
from rube.controllers.cache import InformerCache, configs_for
from rube.controllers.cluster.nodehealth import NodeHealth
from rube.controllers.contract import Input
from rube.controllers.spec import SpecController, inputs_of
from rube.sim.world.kernel import World
from tests.pushed_types import BACKUP, backup, backup_type, kind_from
from tests.unit.controllers.cluster_fake import decision, unit_object
from tests.unit.controllers.runtime_bench import Bench

In = ControllerSpec.Input
FILES = kind_from(backup_type()).files
ZONE = backup_type(name="acme.Zone", file="acme/zone.proto", scope=Scope.CLUSTER)
ZONE_FILES = kind_from(ZONE).files
NAMES = ("a", "b")
NAMESPACES = ("x", "y")


def spec_of(wanted: In, keyed: str = BACKUP) -> ControllerSpec:
    made = ControllerSpec(name="test", type=keyed, inputs=[wanted])
    made.types.file.extend(FILES if keyed == BACKUP else ZONE_FILES)
    return made


# The model: it knows nothing of indexes and of the other direction.


def holds(wanted: In, key: ObjectKey, obj: Object | None, related: Object) -> bool:
    here = key_of(related)
    beside = here.namespace in (key.namespace, "") if key.namespace else here.namespace == wanted.namespace
    match wanted.WhichOneof("relation"):
        case "owned":
            owners = related.metadata.owner_references
            return obj is not None and any(owner.uid == obj.metadata.uid for owner in owners)
        case "same_name":
            return beside and here.name == wanted.name_prefix + key.name
        case "label":
            same = related.metadata.labels.get(wanted.label) == key.name
            return same and (not key.namespace or here.namespace == key.namespace)
        case "field":
            return obj is not None and any(named(wanted, key, value, here) for value in values(wanted.field, obj))
    return True


def named(wanted: In, key: ObjectKey, value: str, here: ObjectKey) -> bool:
    if "/" in value:
        return bool(here.namespace) and value == f"{here.namespace}/{here.name}"
    return value == here.name and here.namespace in ("", wanted.namespace or key.namespace)


def values(path: str, obj: Object) -> Sequence[str]:
    match path:
        case "metadata.labels.node":
            return [obj.metadata.labels["node"]] if "node" in obj.metadata.labels else []
        case "metadata.finalizers":
            return obj.metadata.finalizers
        case "spec.target":
            kind = kind_from(ZONE if "Zone" in obj.spec.type_url else backup_type())
            target: str = cast(Any, kind.spec.FromString(obj.spec.value)).target
            return [target] if target else []
    raise AssertionError(path)


# Objects, and changes of them


class Copies:
    """An InformerCache over copies that a test changes."""

    def __init__(self, wanted: Input, keyed: str) -> None:
        self.wanted = wanted
        self.objects: dict[str, dict[ObjectKey, Object]] = {keyed: {}, wanted.type: {}}
        self.handlers: dict[str, Callable[[Change], None]] = {}
        self.cache = InformerCache({name: cast(Informer, _Copy(self, name)) for name in self.objects})

    def change(self, key: ObjectKey, new: Object | None) -> Change | None:
        objects = self.objects[key.type]
        old = objects.pop(key, None)
        if new is not None:
            objects[key] = new
        if old is None and new is None:
            return None
        change = Change(key, old, new, 1)
        self.handlers[key.type](change)
        return change

    def requeued(self, change: Change) -> set[ObjectKey]:
        states = [state for state in (change.old, change.new) if state is not None]
        return {key for state in states for key in self.wanted.requeue(state, self.cache)}


class _Copy:
    def __init__(self, copies: Copies, type_name: str) -> None:
        self._copies, self._type = copies, type_name
        self.objects = copies.objects[type_name]

    def add_handler(self, handler: Callable[[Change], None]) -> None:
        self._copies.handlers[self._type] = handler

    def add_progress_handler(self, handler: Callable[[], None]) -> None: ...


@st.composite
def inputs(draw: st.DrawFn) -> tuple[In, str]:
    """An input, and the type of the keys."""
    related = draw(st.sampled_from([UNIT_TYPE, NODE_TYPE]))
    keyed = draw(st.sampled_from([BACKUP, "acme.Zone"]))
    relation = draw(st.sampled_from(["owned", "same_name", "label", "field", "all"]))
    wanted = In(type=related)
    if relation == "field":
        wanted.field = draw(st.sampled_from(["metadata.labels.node", "metadata.finalizers", "spec.target"]))
    elif relation == "label":
        wanted.label = "app"
    else:
        setattr(wanted, relation, True)
    if related == UNIT_TYPE and (draw(st.booleans()) or (keyed != BACKUP and relation == "same_name")):
        wanted.namespace = "x"
    if relation == "same_name":
        wanted.name_prefix = draw(st.sampled_from(["", "a"]))
    if relation == "label" and keyed == BACKUP and related == NODE_TYPE:
        wanted.type = UNIT_TYPE  # the other one is refused
    return wanted, keyed


def keys_of(type_name: str, wanted: In) -> list[ObjectKey]:
    namespaces: Sequence[str] = ("",) if type_name in (NODE_TYPE, "acme.Zone") else NAMESPACES
    if type_name == wanted.type and wanted.namespace:
        namespaces = (wanted.namespace,)  # the informer has no others
    return [ObjectKey(type_name, namespace, name) for namespace in namespaces for name in (*NAMES, "aa")]


@st.composite
def changes(draw: st.DrawFn, wanted: In, keyed: str) -> tuple[ObjectKey, Object | None]:
    which = keyed if draw(st.integers(0, 3)) == 0 else wanted.type
    key = draw(st.sampled_from(keys_of(which, wanted)))
    return key, draw(states(wanted, keyed, key))


@st.composite
def states(draw: st.DrawFn, wanted: In, keyed: str, key: ObjectKey) -> Object | None:
    if draw(st.integers(0, 4)) == 0:
        return None
    metadata = Metadata(namespace=key.namespace, name=key.name, uid=f"{key}-{draw(st.integers(1, 2))}")
    words = st.sampled_from([*NAMES, "x/a", "x/b", "/a"])
    for label in draw(st.sets(st.sampled_from(["app", "node"]))):
        metadata.labels[label] = draw(st.sampled_from(NAMES))
    metadata.finalizers.extend(draw(st.lists(words, max_size=2)))
    for _ in range(draw(st.integers(0, 2))):
        owner = draw(st.sampled_from(keys_of(keyed, wanted)))
        reference = OwnerReference(type=keyed, namespace=owner.namespace, name=owner.name)
        reference.uid = f"{owner}-{draw(st.integers(1, 2))}"
        metadata.owner_references.append(reference)
    specs: dict[str, Callable[[], Any]] = {
        UNIT_TYPE: lambda: pack(Unit()),
        NODE_TYPE: lambda: pack(Node()),
        BACKUP: lambda: backup("n", target=draw(words)).spec,
        "acme.Zone": lambda: backup("n", of=ZONE, target=draw(words)).spec,
    }
    return Object(metadata=metadata, spec=specs[key.type]())


@settings(max_examples=200)
@given(st.data())
def test_what_a_key_sees_and_what_lets_it_be_decided_again_are_as_the_model_says(data: st.DataObject) -> None:
    wanted, keyed = data.draw(inputs())
    (made,) = inputs_of(spec_of(wanted, keyed))
    copies = Copies(made, keyed)
    for key in keys_of(keyed, wanted):
        copies.change(key, data.draw(states(wanted, keyed, key)))
    for _ in range(data.draw(st.integers(1, 12))):
        change = copies.change(*data.draw(changes(wanted, keyed)))
        present, related = copies.objects[keyed], copies.objects[wanted.type]
        for key in keys_of(keyed, wanted):
            obj = present.get(key)
            seen = [key_of(found) for found in made.select(key, obj, copies.cache)]
            assert seen == sorted(each for each in related if holds(wanted, key, obj, related[each]))
        if change is None or change.key.type != wanted.type:
            continue
        requeued = copies.requeued(change)
        both = [state for state in (change.old, change.new) if state is not None]
        for key, obj in present.items():
            concerned = any(holds(wanted, key, obj, state) for state in both)
            assert (key in requeued) == concerned, key
        for key in requeued - present.keys():
            assert any(holds(wanted, key, None, state) for state in both)


def test_a_named_object_lets_those_that_name_it_be_decided_again_and_no_others(world: World) -> None:
    bench = Bench(world, lambda state: decision())
    spec = ControllerSpec(name="words", type=UNIT_TYPE, inputs=[In(type=NODE_TYPE, field="metadata.labels.node")])
    bench.inputs = inputs_of(spec)
    for name, bound in (("web", "n1"), ("db", "n2"), ("log", "n3")):
        bench.cluster.add(unit_object(name, node=bound))
    bench.start()
    bench.run_for(1)
    bench.decided.clear()
    node = Object(metadata=Metadata(name="n1"), spec=pack(Node()))
    bench.cluster.add(node)
    bench.run_for(1)
    assert [(one.key.name, len(one.state.related)) for one in bench.decided] == [("web", 1)]


def test_a_label_that_moves_to_another_key_lets_both_be_decided_again(world: World) -> None:
    bench = Bench(world, lambda state: decision())
    spec = ControllerSpec(name="words", type=UNIT_TYPE, inputs=[In(type=BACKUP, label="unit")])
    bench.inputs = inputs_of(spec)
    for name in ("web", "db", "log"):
        bench.cluster.add(unit_object(name))
    moving = backup("nightly")
    moving.metadata.labels["unit"] = "web"
    bench.cluster.add(moving)
    bench.start()
    bench.run_for(1)
    bench.decided.clear()
    moving.metadata.labels["unit"] = "db"
    bench.cluster.add(moving)
    bench.run_for(1)
    seen = {one.key.name: [obj.metadata.name for obj in one.state.related] for one in bench.decided}
    assert seen == {"web": [], "db": ["nightly"]}


@pytest.fixture
def world() -> Any:
    with World(seed=1) as made:
        yield made


def test_two_relations_to_one_type_show_an_object_once_from_one_copy() -> None:
    class Both(SpecController):
        spec = ControllerSpec(
            name="both", type=UNIT_TYPE, inputs=[In(type=BACKUP, same_name=True), In(type=BACKUP, all=True)]
        )

    assert [config.type for config in configs_for(Both())] == [UNIT_TYPE, BACKUP]
    with World(seed=1) as world:
        bench = Bench(world, lambda state: decision())
        bench.inputs = Both().inputs
        bench.cluster.add(unit_object("web"))
        bench.cluster.add(backup("web"))
        bench.cluster.add(backup("db"))
        bench.start()
        bench.run_for(1)
    assert [obj.metadata.name for obj in bench.decided[-1].state.related] == ["db", "web"]


def test_an_informer_keeps_what_an_input_selects() -> None:
    class Labelled(SpecController):
        spec = ControllerSpec(
            name="labelled",
            type=UNIT_TYPE,
            label_selector="tier=web",
            inputs=[In(type=BACKUP, namespace="x", label_selector="on=yes", all=True)],
        )

    found = [(config.type, config.namespace, config.label_selector) for config in configs_for(Labelled())]
    assert found == [(UNIT_TYPE, "", "tier=web"), (BACKUP, "x", "on=yes")]
    assert isinstance(NodeHealth(), SpecController)


def changed(**fields: Any) -> ControllerSpec:
    made = ControllerSpec(name="test", type=BACKUP, inputs=[In(type=UNIT_TYPE, owned=True)])
    made.types.file.extend(FILES)
    for name, value in fields.items():
        if isinstance(value, list):
            made.ClearField(name)  # type: ignore[arg-type]
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


TWO = [In(type=UNIT_TYPE, owned=True), In(type=UNIT_TYPE, all=True, namespace="x")]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (changed(name="My_Controller"), r"name: name 'My_Controller' is not a DNS label"),
        (changed(type="api.systemd.Unti"), r"type: 'api\.systemd\.Unti' is not a type of object; did you mean"),
        (changed(type="*"), r"type: '\*' is not one type: name one"),
        (changed(label_selector="a in"), r"label_selector: "),
        (
            changed(scope=Scope.CLUSTER),
            r"scope: acme\.Backup says that its objects are in .*: leave the scope out",
        ),
        (changed(inputs=[In(type="api.Nod", all=True)]), r"inputs\[0\]\.type: 'api\.Nod' is not a type"),
        (changed(inputs=[In(type=BACKUP, all=True)]), r"inputs\[0\]\.type: acme\.Backup is the controller's own"),
        (changed(inputs=[In(type=UNIT_TYPE)]), r"inputs\[0\]: no relation: set one of owned, same_name, label, field"),
        (changed(inputs=[In(type=UNIT_TYPE, owned=False)]), r"inputs\[0\]: no relation"),
        (changed(inputs=[In(type=UNIT_TYPE, all=True, namespace="X")]), r"inputs\[0\]\.namespace: namespace 'X'"),
        (changed(inputs=[In(type=NODE_TYPE, all=True, namespace="x")]), r"inputs\[0\]\.namespace: .* leave it out"),
        (changed(inputs=[In(type=UNIT_TYPE, all=True, label_selector="=")]), r"inputs\[0\]\.label_selector: "),
        (changed(inputs=[In(type=UNIT_TYPE, label="a b")]), r"inputs\[0\]\.label: "),
        (changed(inputs=[In(type=NODE_TYPE, label="app")]), r"inputs\[0\]\.label: objects of api\.Node are in no name"),
        (changed(inputs=[In(type=UNIT_TYPE, all=True, name_prefix="a")]), r"inputs\[0\]\.name_prefix: goes with same"),
        (changed(inputs=[In(type=UNIT_TYPE, field="spec.traget")]), r"inputs\[0\]\.field: .*did you mean 'target'"),
        (
            changed(inputs=[In(type=UNIT_TYPE, field="target")]),
            r"inputs\[0\]\.field: .* begins with none of meta",
        ),
        (changed(inputs=[In(type=UNIT_TYPE, field="metadata.labels")]), r"inputs\[0\]\.field: .* leads to no text"),
        (changed(inputs=[In(type=UNIT_TYPE, field="metadata.revision")]), r"inputs\[0\]\.field: .* leads to no text"),
        (
            changed(inputs=TWO),
            r"inputs\[1\]: api\.systemd\.Unit has another namespace or label_selector than in inputs\[0\]",
        ),
        (
            ControllerSpec(name="t", type="acme.Other", inputs=[In(type=UNIT_TYPE, field="spec.target")]),
            r"inputs\[0\]\.field: the fields of acme\.Other are not known here: let the controller bring the type",
        ),
        (
            ControllerSpec(name="t", type=NODE_TYPE, inputs=[In(type=UNIT_TYPE, same_name=True)]),
            r"inputs\[0\]\.namespace: objects of api\.systemd\.Unit are in namespaces, and a key is not: name the",
        ),
    ],
)
def test_a_wrong_spec_is_refused_with_the_field_and_the_remedy(spec: ControllerSpec, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        inputs_of(spec)


def test_a_type_that_a_server_would_refuse_is_refused_with_the_spec() -> None:
    made = changed()
    made.types.file[0].dependency.append("acme/nowhere.proto")
    with pytest.raises(InvalidArgumentError, match=r"types: .*acme/nowhere\.proto"):
        inputs_of(made)
    made = changed()
    made.types.file[0].message_type[0].ClearField("options")
    with pytest.raises(InvalidArgumentError, match=r"types: no message has the option \(api\.resource\)"):
        inputs_of(made)
