"""Controllers as WebAssembly modules, in any language that compiles to it: docs/reference/wasm.md is their contract.

`controller` makes a controller of a module's bytes; `module` compiles and calls it within limits; `system` has what it
may call.
"""
