//! The results of the lines.

use anyhow::anyhow;
use hookwright_proto::v1::{FieldViolation, PublishAck, publish_result::Result as Outcome};
use tonic::Code;

use crate::{
    client::{
        Client,
        failure::{code_name, says},
    },
    output::{self, counted, printable},
    progress::Progress,
};

/// Number of lines per result.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) published: u64,
    repeated: u64,
    pub(super) refused: u64,
    deliveries: u64,
}

impl Tally {
    /// Number of answered lines.
    pub(super) fn acknowledged(&self) -> u64 {
        self.published + self.repeated + self.refused
    }

    /// A summary in one line.
    pub(super) fn summary(&self) -> String {
        let mut text = format!(
            "published {}, to be sent to webhooks {}",
            counted(self.published, "event"),
            counted(self.deliveries, "time")
        );
        if self.repeated > 0 {
            text.push_str(&format!("; {} were already published", self.repeated));
        }
        if self.refused > 0 {
            text.push_str(&format!("; {} refused", self.refused));
        }
        text
    }

    /// Counts one acknowledgement. Prints each for programs, and rejected ones for people.
    pub(super) fn count(&mut self, client: &Client, ack: &PublishAck, progress: &Progress) -> anyhow::Result<()> {
        if !client.output.for_people() {
            client.output.record("PublishAck", ack, |_| String::new())?;
        }
        match ack.result.as_ref().and_then(|result| result.result.as_ref()) {
            Some(Outcome::Published(response)) if response.repeated_request => self.repeated += 1,
            Some(Outcome::Published(response)) => {
                self.published += 1;
                self.deliveries += u64::try_from(response.delivery_count).unwrap_or(0);
            }
            Some(Outcome::Error(error)) => {
                self.refused += 1;
                let code = code_name(Code::from(error.code));
                let mut text = format!("line {}: {code}: {}", ack.sequence, printable(&error.message));
                let unsaid = |one: &&FieldViolation| !says(&error.message, &one.field, &one.description);
                for violation in error.field_violations.iter().filter(unsaid) {
                    text.push_str(&format!(
                        "\n  {}: {}",
                        violation.field,
                        printable(&violation.description)
                    ));
                }
                progress.suspend(|| output::note(&text));
            }
            None => {
                return Err(anyhow!(
                    "the server's acknowledgement of line {} has no result",
                    ack.sequence
                ));
            }
        }
        Ok(())
    }
}
