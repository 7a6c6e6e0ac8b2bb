//! Records the statements of a connection, by call.

use std::sync::Arc;

use diesel::connection::{Instrumentation, InstrumentationEvent};
use parking_lot::Mutex;

/// The statements of one call of a query.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The name of the query, and after a dot the variant of the call.
    pub(crate) name: String,
    /// The statements in the order of their first execution, without duplicates.
    pub(crate) statements: Vec<String>,
    /// Their plans: on PostgreSQL one for each execution, as the database reports them.
    pub(crate) plans: Vec<String>,
}

/// The calls so far. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    calls: Vec<Call>,
    is_open: bool,
}

impl Recorder {
    /// Begins a call.
    pub(crate) fn begin(&self, name: &str) {
        let mut recorded = self.0.lock();
        recorded.is_open = true;
        recorded.calls.push(Call {
            name: name.to_owned(),
            statements: Vec::new(),
            plans: Vec::new(),
        });
    }

    /// Ends the call: statements belong to no call until the next one begins. Plans may still arrive.
    pub(crate) fn end(&self) {
        self.0.lock().is_open = false;
    }

    /// Records the plan of a statement of the last call.
    pub(crate) fn note_plan(&self, plan: &str) {
        if let Some(call) = self.0.lock().calls.last_mut() {
            call.plans.push(plan.to_owned());
        }
    }

    /// The instrumentation for a connection whose statements are recorded.
    pub(crate) fn instrumentation(&self) -> impl Instrumentation + use<> {
        Recording(self.clone())
    }

    /// All calls.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().calls.clone()
    }

    fn note_statement(&self, query: &str) {
        let mut recorded = self.0.lock();
        if !recorded.is_open {
            return;
        }
        let statement = query.split(" -- binds: ").next().unwrap_or_default().to_owned();
        if let Some(call) = recorded.calls.last_mut()
            && !call.statements.contains(&statement)
        {
            call.statements.push(statement);
        }
    }
}

struct Recording(Recorder);

impl Instrumentation for Recording {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            self.0.note_statement(&query.to_string());
        }
    }
}
