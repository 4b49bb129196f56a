//! `generate ROOT OUT`: the messages that controllers use, from the .proto files below ROOT, as Rust below OUT.

use std::{env, path::Path};

const FILES: [&str; 3] = ["rube/api/cluster.proto", "rube/api/controller.proto", "rube/api/systemd.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [root, out] =
        env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: generate ROOT OUT")?;
    let rules = Path::new(&root).join("rube/api/types/include");
    let mut files = protox::compile(FILES, [Path::new(&root), &rules])?;
    files.file.retain(|file| !file.name().starts_with("buf/")); // options alone
    prost_build::Config::new()
        .out_dir(&out)
        .include_file("mod.rs")
        .enable_type_names()
        .btree_map(["."])
        .disable_comments(["."])
        .compile_fds(files)?;
    Ok(())
}
