//! Programs in Python: third-party verifiers and clients, which accept or reject what Hookwright sends. They are
//! installed in the virtual environment that `scripts/setup-python` creates in `target/python` from
//! `tests/python/requirements.txt`.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{DEADLINE, workspace_directory};

/// The virtual environment's interpreter.
///
/// # Errors
/// Fails if the environment does not exist. The message says how to create it.
pub fn python_executable() -> anyhow::Result<PathBuf> {
    let path = workspace_directory().join("target/python/bin/python");
    ensure!(
        path.exists(),
        "{} is not there: run scripts/setup-python (or `make test`) first",
        path.display()
    );
    Ok(path)
}

/// Runs a script with `stdin_json` as its standard input, and returns all its output. A relative `script` is relative
/// to the repository's root, such as `tests/python/verify.py`.
///
/// # Errors
/// Fails if the environment is missing, or the script does not end in time. A script that fails is not an error: check
/// the output's status, or use [`run_python_json`].
pub async fn run_python(script: impl AsRef<Path>, stdin_json: &Value) -> anyhow::Result<Output> {
    let script = workspace_directory().join(script);
    let mut child = Command::new(python_executable()?)
        .args(["-E", "-s"]) // ignores the environment's settings and the user's packages
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("running {}", script.display()))?;
    let mut input = child.stdin.take().context("the script's input")?;
    let text = stdin_json.to_string();
    let feeding = async move {
        // The output of a script that ends without reading its input is more useful than this error.
        let _ = input.write_all(text.as_bytes()).await;
        drop(input);
    };
    let ((), output) = timeout(DEADLINE, async { tokio::join!(feeding, child.wait_with_output()) })
        .await
        .with_context(|| format!("{} did not end", script.display()))?;
    Ok(output?)
}

/// Runs a script as [`run_python`] does, and parses the JSON document that it printed.
///
/// # Errors
/// Fails if the script fails (the error contains its standard error), or prints no JSON.
pub async fn run_python_json(script: impl AsRef<Path>, stdin_json: &Value) -> anyhow::Result<Value> {
    let output = run_python(script.as_ref(), stdin_json).await?;
    let name = script.as_ref().display();
    ensure!(
        output.status.success(),
        "{name}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).with_context(|| {
        let printed = String::from_utf8_lossy(&output.stdout);
        format!("{name} printed no JSON document: {printed}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_script_reads_json_and_answers_json() -> anyhow::Result<()> {
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(
            script.path(),
            "import json, sys, standardwebhooks\n\
             value = json.load(sys.stdin)\n\
             if value.get('fail'): sys.exit('as told')\n\
             print(json.dumps({'sum': sum(value['numbers'])}))\n",
        )?;
        let answer = run_python_json(script.path(), &json!({"numbers": [1, 2, 39]})).await?;
        assert_eq!(answer, json!({"sum": 42}));

        let error = run_python_json(script.path(), &json!({"fail": true})).await;
        let error = error.expect_err("the script fails").to_string();
        assert!(error.contains("as told"), "{error}");
        Ok(())
    }
}
