//! The lines of a file, or of standard input, as events.

use std::{
    io::IsTerminal as _,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use hookwright_proto::v1::{PublishEventRequest, publish_event_request::Payload};
use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt as _, BufReader},
};

use crate::{output::Output, progress::Progress};

/// A source of events, one per line.
pub(super) struct Lines {
    input: Pin<Box<dyn AsyncBufRead + Send>>,
    template: PublishEventRequest,
    /// Number of lines read.
    number: u64,
    /// Number of bytes read, for the progress.
    bytes: Arc<AtomicU64>,
    bytes_total: Option<u64>,
}

impl Lines {
    /// Opens a file, or standard input for `-`. `template` has the fields of each event.
    pub(super) async fn open(path: &Path, template: PublishEventRequest) -> anyhow::Result<Self> {
        let mut bytes_total = None;
        let input: Pin<Box<dyn AsyncBufRead + Send>> = if path == Path::new("-") {
            Box::pin(BufReader::new(tokio::io::stdin()))
        } else {
            let cannot_read = || format!("cannot read {}", path.display());
            let file = File::open(path).await.with_context(cannot_read)?;
            let metadata = file.metadata().await.with_context(cannot_read)?;
            // The length of a named pipe is unknown.
            bytes_total = metadata.is_file().then_some(metadata.len());
            Box::pin(BufReader::with_capacity(1 << 18, file))
        };
        Ok(Self {
            input,
            template,
            number: 0,
            bytes: Arc::default(),
            bytes_total,
        })
    }

    /// The next event with its line number; blank lines are skipped. `None` at the end.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<(u64, PublishEventRequest)>> {
        loop {
            let mut line = Vec::new();
            let length = self.input.read_until(b'\n', &mut line).await?;
            if length == 0 {
                return Ok(None);
            }
            self.bytes.fetch_add(length as u64, Ordering::Relaxed);
            self.number += 1;
            while line.last().is_some_and(|byte| *byte == b'\n' || *byte == b'\r') {
                line.pop();
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let mut event = PublishEventRequest {
                payload: Some(Payload::Json(line.into())),
                ..self.template.clone()
            };
            if !event.request_id.is_empty() {
                event.request_id = format!("{}-{}", event.request_id, self.number);
            }
            return Ok(Some((self.number, event)));
        }
    }

    /// A progress bar of the reading, and its updater.
    pub(super) fn progress(&self, output: Output) -> (Progress, Arc<AtomicU64>) {
        let progress = match self.bytes_total {
            Some(total) => Progress::bytes(output, total),
            // A user who types the events needs no bar.
            None if std::io::stdin().is_terminal() => Progress::hidden(),
            None => Progress::endless(output),
        };
        (progress, Arc::clone(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_line_is_an_event_and_blank_ones_are_skipped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"a\":1}\r\n\n  \n{\"a\":2}").unwrap();
        let template = PublishEventRequest {
            request_id: "import".to_owned(),
            ..PublishEventRequest::default()
        };
        let mut lines = Lines::open(file.path(), template).await.unwrap();
        let mut seen = Vec::new();
        while let Some((number, event)) = lines.next().await.unwrap() {
            let Some(Payload::Json(json)) = event.payload else {
                panic!()
            };
            seen.push((number, event.request_id, json));
        }
        let expected = |number: u64, json: &'static str| (number, format!("import-{number}"), json.into());
        assert_eq!(seen, [expected(1, "{\"a\":1}"), expected(4, "{\"a\":2}")]);
        assert_eq!(lines.bytes.load(Ordering::Relaxed), 20);
        assert_eq!(lines.bytes_total, Some(20));
        assert!(
            Lines::open(Path::new("/does/not/exist"), PublishEventRequest::default())
                .await
                .is_err()
        );
    }
}
