//! The notebook of the documentation runs, and draws.

use std::path::Path;
use std::process::Command;

use crate::common::{havana, noisy, python, python_has};

const RUN: &str = "
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=600, kernel_name='python3', resources={'metadata': {'path': sys.argv[2]}}).execute()
pictures = [output for cell in notebook.cells for output in cell.get('outputs', []) if 'image/png' in output.get('data', {})]
rows = [cell.outputs[-1].data['text/plain'] for cell in notebook.cells if cell.get('outputs')]
assert len(pictures) == 2, len(pictures)
print(len(rows), 'cells told something,', len(pictures), 'pictures')
";

#[test]
fn the_notebook_runs() {
    let modules = ["duckdb", "ipykernel", "matplotlib", "nbclient", "nbformat", "pandas", "polars", "pyarrow"];
    if !python_has("the notebook", &modules) {
        return;
    }
    let notebook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/notebook/havana.ipynb");
    let dir = tempfile::tempdir().unwrap();
    let mut run = Command::new(python());
    run.args(["-c", RUN]).args([&notebook, dir.path()]).env("HAVANA_DATASET", noisy()).env("HAVANA", havana());
    let output = run.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}
