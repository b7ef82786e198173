//! Compiles `proto/` into Rust and into the descriptors that gRPC reflection serves. Needs no `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const ROOT: &str = "proto";
const FOLDER: &str = "proto/sluicegate/v1";

fn main() -> Result<(), Box<dyn Error>> {
    // The folder's own time changes when a file comes or goes, each file's when it is edited.
    println!("cargo::rerun-if-changed={FOLDER}");
    let mut files = Vec::new();
    for entry in fs::read_dir(FOLDER)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    files.sort();

    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).open_files(&files)?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("sluicegate_descriptors.bin");
    fs::write(descriptors, compiler.include_source_info(false).encode_file_descriptor_set())?;
    // With the source's comments, which become the generated items' docs.
    let documented = compiler.include_source_info(true).file_descriptor_set();
    tonic_prost_build::configure().compile_fds(documented)?;
    Ok(())
}
