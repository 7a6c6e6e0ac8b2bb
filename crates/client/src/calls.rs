//! Properties of a call that follow from its name.

/// Calls with a streamed request or response: they have no deadline, and are never retried as a whole.
const STREAMS: [&str; 2] = ["PublishStream", "WatchDeliveries"];
/// Prefixes of the names of calls that change nothing.
const READS: [&str; 5] = ["Get", "List", "Query", "Explain", "Test"];

/// Whether a call can be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It can be retried.
    Read,
    /// It can be retried only if its caller says so.
    Change,
    Stream,
}

impl Kind {
    /// From a path such as `/hookwright.v1.EventService/GetEvent`.
    pub(crate) fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        if STREAMS.contains(&name) {
            Self::Stream
        } else if READS.iter().any(|read| name.starts_with(read)) {
            Self::Read
        } else {
            Self::Change
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_call_of_the_api_is_told_apart() {
        let set = FileDescriptorSet::decode(hookwright_proto::FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        let mut reads = Vec::new();
        for method in services.flat_map(|service| &service.method) {
            let kind = Kind::of(&format!("/hookwright.v1.Service/{}", method.name()));
            let streams = method.client_streaming() || method.server_streaming();
            assert_eq!(kind == Kind::Stream, streams, "{}", method.name());
            if kind == Kind::Read {
                reads.push(method.name());
            }
        }
        for read in [
            "GetEvent",
            "ListNodes",
            "QueryDeliveryStats",
            "ExplainEvent",
            "TestWebhookFilter",
        ] {
            assert!(reads.contains(&read), "{read}");
        }
        // A TestWebhook call would send a ping: the prefix alone must not make it retryable.
        let tests: Vec<_> = reads.iter().filter(|read| read.starts_with("Test")).collect();
        assert_eq!(tests, [&"TestWebhookFilter"]);
    }
}
