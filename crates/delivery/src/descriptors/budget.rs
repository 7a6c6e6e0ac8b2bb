//! The budget of file descriptors: divides the limit on open files.
//!
//! | part | size |
//! | --- | --- |
//! | reserve: the store, the runtimes, the listening sockets, metrics, files that are read at times | 64, and 6 per thread with a runtime |
//! | listeners | their maximum of connections, at most a quarter of the rest, at least 8 each |
//! | connections to receivers, with the DNS queries that precede them | the rest, at most 65,536 |

/// Descriptors of the process apart from its runtimes and connections: about 20 of SQLite with its readers, or 10 sessions
/// of PostgreSQL; two listening sockets, standard streams, the trace exporter, repeated DNS queries, and files that are read
/// at times.
const RESERVE: usize = 64;
/// Descriptors of a runtime: epoll, its wake-up, and the signal pipe.
const RESERVE_PER_RUNTIME: usize = 6;
/// Connections of each listener, and connections to receivers, with which a server can work.
const LISTENER_MIN: usize = 8;
const CONNECTIONS_MIN: usize = 16;
/// Connections to receivers: memory is limited too.
const CONNECTIONS_MAX: usize = 1 << 16;

/// Connections of the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// Of the gRPC listener.
    pub grpc: usize,
    /// Of the HTTP listener.
    pub http: usize,
}

/// The parts of the limit on open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Reserved for everything except connections.
    pub reserve: usize,
    /// Connections of the listeners.
    pub listeners: Listeners,
    /// Connections to receivers: in use and idle.
    pub connections: usize,
}

/// The limit on open files is too low for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit on open files is {limit}, and this server needs at least {needed}: raise it (ulimit -n, LimitNOFILE in \
     systemd, --ulimit nofile in Docker)"
)]
pub struct TooFewDescriptors {
    /// The limit.
    pub limit: usize,
    /// The lowest limit with which a server starts.
    pub needed: usize,
}

impl Budget {
    /// Divides the limit on open files of a process with this number of runtimes. `wanted` are the connections that the
    /// listeners accept if descriptors are plentiful.
    ///
    /// # Errors
    /// Fails if the limit is too low for a server.
    pub fn new(limit: usize, runtimes: usize, wanted: Listeners) -> Result<Self, TooFewDescriptors> {
        let reserve = RESERVE + RESERVE_PER_RUNTIME * runtimes;
        let needed = reserve + 2 * LISTENER_MIN + CONNECTIONS_MIN;
        if limit < needed {
            return Err(TooFewDescriptors { limit, needed });
        }
        let rest = limit - reserve;
        let listeners = wanted.within(rest / 4);
        let connections = rest - listeners.grpc - listeners.http;
        Ok(Self {
            reserve,
            listeners,
            connections: connections.min(CONNECTIONS_MAX),
        })
    }

    /// How many attempts may be in flight: each needs a connection.
    pub fn attempts_max(&self, configured: usize) -> usize {
        configured.min(self.connections)
    }
}

impl Listeners {
    /// At most this many for both. A listener that needs less than half leaves the rest to the other.
    fn within(self, both: usize) -> Self {
        let half = both / 2;
        let share = |wanted: usize, other: usize| wanted.min(half.max(both.saturating_sub(other)).max(LISTENER_MIN));
        Self {
            grpc: share(self.grpc, self.http),
            http: share(self.http, self.grpc),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULTS: Listeners = Listeners {
        grpc: 2_064,
        http: 2_064,
    };

    #[test]
    fn x02_a_small_limit_is_divided_and_a_large_one_limits_nothing() {
        let small = Budget::new(512, 4, DEFAULTS).unwrap();
        assert_eq!(
            small,
            Budget {
                reserve: 88,
                listeners: Listeners { grpc: 53, http: 53 },
                connections: 318
            }
        );
        assert_eq!(small.attempts_max(1_024), 318);
        assert_eq!(small.attempts_max(100), 100);
        let large = Budget::new(1 << 20, 4, DEFAULTS).unwrap();
        assert_eq!((large.listeners, large.connections), (DEFAULTS, CONNECTIONS_MAX));
        assert_eq!(large.attempts_max(10_240), 10_240);
    }

    #[test]
    fn a_listener_that_needs_little_leaves_the_rest_to_the_other() {
        let wanted = Listeners { grpc: 10, http: 2_000 };
        let budget = Budget::new(512, 4, wanted).unwrap();
        assert_eq!(budget.listeners, Listeners { grpc: 10, http: 96 });
    }

    #[test]
    fn a_limit_that_is_too_low_is_an_error_that_says_what_is_needed() {
        let error = Budget::new(119, 4, DEFAULTS).unwrap_err();
        assert!(
            error.to_string().contains("is 119, and this server needs at least 120"),
            "{error}"
        );
        assert!(Budget::new(120, 4, DEFAULTS).is_ok());
    }

    proptest! {
        #[test]
        fn the_parts_never_exceed_the_limit(
            limit in 0usize..200_000, runtimes in 1usize..200, grpc in 1usize..5_000, http in 1usize..5_000,
        ) {
            let wanted = Listeners { grpc, http };
            match Budget::new(limit, runtimes, wanted) {
                Ok(budget) => {
                    let Listeners { grpc, http } = budget.listeners;
                    prop_assert!(budget.reserve + grpc + http + budget.connections <= limit);
                    prop_assert!(grpc >= wanted.grpc.min(LISTENER_MIN) && grpc <= wanted.grpc);
                    prop_assert!(http >= wanted.http.min(LISTENER_MIN) && http <= wanted.http);
                    prop_assert!(budget.connections >= CONNECTIONS_MIN);
                    prop_assert!((1..=budget.connections).contains(&budget.attempts_max(10_240)));
                }
                Err(error) => prop_assert!(limit < error.needed),
            }
        }
    }
}
