//! The controller of agents.py in Rust: puts one unit on each node, and puts it again after a user has deleted it.

use rube_controller::messages::api::controller::controller_spec::{input::Relation, Input};
use rube_controller::messages::api::controller::{ControllerSpec, Decision, State};
use rube_controller::messages::api::systemd::{service, Service, Unit};
use rube_controller::messages::api::{Metadata, Object};
use rube_controller::{create, pack, Controller};

const NODE: &str = "api.Node";
const UNIT: &str = "api.systemd.Unit";
const NAMESPACE: &str = "agents";

/// Keyed by api.Node; sees the unit of the node's name in the namespace `agents`.
struct Agents;

impl Controller for Agents {
    fn spec() -> ControllerSpec {
        let unit = Input {
            r#type: UNIT.into(),
            namespace: NAMESPACE.into(),
            relation: Some(Relation::SameName(true)),
            ..Default::default()
        };
        ControllerSpec {
            name: "agents".into(),
            r#type: NODE.into(),
            inputs: vec![unit],
            ..Default::default()
        }
    }

    fn decide(state: &State) -> Decision {
        let mut decision = Decision::default();
        if let (Some(node), true) = (&state.object, state.related.is_empty()) {
            let name = node.metadata.clone().unwrap_or_default().name;
            decision.calls.push(create(agent(&name)));
        }
        decision
    }
}

fn agent(node: &str) -> Object {
    let exec = service::Exec { start: vec!["sleep 86400".into()], ..Default::default() };
    let service =
        Service { exec: Some(exec), restart: service::Restart::OnFailure.into(), ..Default::default() };
    let unit =
        Unit { description: format!("the agent of {node}"), service: Some(service), ..Default::default() };
    let metadata = Metadata {
        namespace: NAMESPACE.into(),
        name: node.into(),
        labels: [("node".into(), node.into())].into(),
        ..Default::default()
    };
    Object { metadata: Some(metadata), spec: Some(pack(&unit)), ..Default::default() }
}

rube_controller::export!(Agents);

#[cfg(test)]
mod tests {
    use super::*;
    use rube_controller::messages::api::controller::call::Call;
    use rube_controller::messages::api::Node;
    use rube_controller::testing::{object, StateBuilder};

    #[test]
    fn a_node_without_an_agent_gets_one() {
        let state = StateBuilder::of(object("", "worker-1", pack(&Node::default()))).build();
        let decision = Agents::decide(&state);
        let Some(Call::Put(put)) = &decision.calls[0].call else { panic!("{decision:?}") };
        assert!(put.preconditions[0].absent);
        assert_eq!(put.objects[0].metadata.as_ref().unwrap().labels["node"], "worker-1");
    }

    #[test]
    fn a_node_with_its_agent_is_left_alone() {
        let node = object("", "worker-1", pack(&Node::default()));
        let state = StateBuilder::of(node).related(agent("worker-1")).build();
        assert_eq!(Agents::decide(&state), Decision::default());
    }
}
