//! Controllers for Rube: a pure function from [`State`] to [`Decision`], as a WebAssembly module.
//!
//! ```no_run
//! use rube_controller::{messages::api::controller::{ControllerSpec, Decision, State}, Controller};
//!
//! struct Nothing;
//!
//! impl Controller for Nothing {
//!     fn spec() -> ControllerSpec {
//!         ControllerSpec { name: "nothing".into(), r#type: "api.Node".into(), ..Default::default() }
//!     }
//!
//!     fn decide(_state: &State) -> Decision {
//!         Decision::default()
//!     }
//! }
//!
//! rube_controller::export!(Nothing);
//! # fn main() {}
//! ```
//!
//! Built with `cargo build --release --target wasm32-unknown-unknown` as a `cdylib`, it runs in `rube sim`
//! (`controllers: [nothing.wasm]`), `rube controller` and `rube apiserver`. docs/reference/wasm.md has the contract.

#[rustfmt::skip]
#[allow(clippy::all)]
pub mod messages;
pub mod testing;

pub use prost::{Message, Name};
pub use prost_types::{Any, Duration, Timestamp};

use messages::api::controller::{call, Call, ControllerSpec, Decision, State};
use messages::api::{Key, Object, Precondition, PutRequest};

/// A control loop keyed by the objects of one type.
pub trait Controller {
    /// Its name, its type, and the other types that it sees.
    fn spec() -> ControllerSpec;

    /// What to do now. It depends on `state` alone: there is no clock but `state.now`, and nothing is kept between calls.
    fn decide(state: &State) -> Decision;
}

/// Levels of [`log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

/// Writes a line to the log of the process that runs the controller. Elsewhere, as in `cargo test`, to standard error.
pub fn log(level: Level, line: &str) {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the host reads `line.len()` bytes at the pointer during the call.
    unsafe {
        abi::log(level as u32, line.as_ptr(), line.len())
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {line}");
}

/// Packs a message into an Any, as an object's spec, a status or a memory.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("rube/{}", M::full_name()), value: message.encode_to_vec() }
}

/// The message in an Any, or none: the Any is absent, or has another type, or is damaged.
pub fn unpack<M: Message + Name + Default>(any: Option<&Any>) -> Option<M> {
    let any = any?;
    (any.type_url.rsplit('/').next()? == M::full_name()).then(|| M::decode(any.value.as_slice()).ok())?
}

/// The full name of the type that an object's spec has.
pub fn type_of(object: &Object) -> &str {
    object.spec.as_ref().and_then(|spec| spec.type_url.rsplit('/').next()).unwrap_or_default()
}

/// The key of an object: the type of its spec, its namespace and name.
pub fn key_of(object: &Object) -> Key {
    let metadata = object.metadata.clone().unwrap_or_default();
    Key { r#type: type_of(object).into(), namespace: metadata.namespace, name: metadata.name }
}

/// A call that puts an object which must not exist yet.
pub fn create(object: Object) -> Call {
    let absent = Precondition { key: Some(key_of(&object)), absent: true, ..Default::default() };
    let put = PutRequest { objects: vec![object], preconditions: vec![absent], ..Default::default() };
    Call { call: Some(call::Call::Put(put)) }
}

/// Exports the functions of Rube's ABI for a type that implements [`Controller`].
#[macro_export]
macro_rules! export {
    ($controller:ty) => {
        #[no_mangle]
        pub extern "C" fn rube_abi_v1() {}

        #[no_mangle]
        pub extern "C" fn rube_alloc(size: usize) -> *mut u8 {
            $crate::abi::alloc(size)
        }

        #[no_mangle]
        pub extern "C" fn rube_describe() -> u64 {
            $crate::abi::give(&<$controller as $crate::Controller>::spec())
        }

        /// # Safety
        /// `start` and `size` are those of bytes that the host wrote to what `rube_alloc` gave.
        #[no_mangle]
        pub unsafe extern "C" fn rube_decide(start: *mut u8, size: usize) -> u64 {
            let state = unsafe { $crate::abi::take(start, size) };
            $crate::abi::give(&<$controller as $crate::Controller>::decide(&state))
        }
    };
}

/// The ABI's side in Rust, for [`export!`].
#[doc(hidden)]
pub mod abi {
    use super::{Message, State};

    #[cfg(target_arch = "wasm32")]
    #[link(wasm_import_module = "rube")]
    extern "C" {
        pub fn log(level: u32, start: *const u8, size: usize);
    }

    pub fn alloc(size: usize) -> *mut u8 {
        Box::into_raw(vec![0u8; size].into_boxed_slice()).cast()
    }

    /// # Safety
    /// `start` is what `alloc(size)` returned, and nobody else has it.
    pub unsafe fn take(start: *mut u8, size: usize) -> State {
        let bytes = unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(start, size)) };
        State::decode(&*bytes).expect("the host gives an api.controller.State")
    }

    /// The address and size of a message's bytes, which stay: the instance ends with this call.
    pub fn give<M: Message>(message: &M) -> u64 {
        let bytes = message.encode_to_vec().leak();
        (bytes.as_ptr() as u64) << 32 | bytes.len() as u64
    }
}
