//! States for tests of `decide`: `cargo test` runs them on the host, without WebAssembly.

use crate::messages::api::controller::State;
use crate::messages::api::{Key, Metadata, Object};
use crate::{key_of, Any, Message, Timestamp};

/// Builds a [`State`].
#[derive(Clone, Debug, Default)]
pub struct StateBuilder(State);

impl StateBuilder {
    /// The state of a key whose object is there; its type is that of the object's spec.
    pub fn of(object: Object) -> Self {
        Self(State { key: Some(key_of(&object)), object: Some(object), ..Default::default() })
    }

    /// The state of a key whose object is deleted, or never was.
    pub fn without_object(r#type: &str, namespace: &str, name: &str) -> Self {
        let key = Key { r#type: r#type.into(), namespace: namespace.into(), name: name.into() };
        Self(State { key: Some(key), ..Default::default() })
    }

    /// Adds an object that the controller's inputs show; they are sorted by key, as the runtime sorts them.
    pub fn related(mut self, object: Object) -> Self {
        self.0.related.push(object);
        self.0.related.sort_by_key(|object| {
            let key = key_of(object);
            (key.r#type, key.namespace, key.name)
        });
        self
    }

    /// The last decision's memory.
    pub fn memory(mut self, memory: Any) -> Self {
        self.0.memory = Some(memory);
        self
    }

    /// The time: seconds since 1970.
    pub fn now(mut self, seconds: i64) -> Self {
        self.0.now = Some(Timestamp { seconds, nanos: 0 });
        self
    }

    pub fn build(self) -> State {
        self.0
    }
}

/// An object with a spec, without labels.
pub fn object(namespace: &str, name: &str, spec: Any) -> Object {
    let metadata = Metadata { namespace: namespace.into(), name: name.into(), ..Default::default() };
    Object { metadata: Some(metadata), spec: Some(spec), ..Default::default() }
}

/// Whether two messages have the same bytes: what a simulation's trace compares.
pub fn same_bytes<M: Message>(one: &M, other: &M) -> bool {
    one.encode_to_vec() == other.encode_to_vec()
}
