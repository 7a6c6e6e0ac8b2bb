//! What is known of a call by its name alone.

/// Calls whose request or response is a stream: they have no deadline, and are never repeated as a whole.
const STREAMS: [&str; 2] = ["PublishStream", "WatchDeliveries"];
/// What the names of calls begin with that change nothing.
const READS: [&str; 5] = ["Get", "List", "Query", "Explain", "Test"];

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It may be made again.
    Read,
    /// It may be made again only if its caller says so.
    Change,
    Stream,
}

impl Kind {
    /// Of a path such as `/hookwright.v1.EventService/GetEvent`.
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
        // TestWebhook would send a ping: a call of that name must not be repeated by its beginning alone.
        let tests: Vec<_> = reads.iter().filter(|read| read.starts_with("Test")).collect();
        assert_eq!(tests, [&"TestWebhookFilter"]);
    }
}
