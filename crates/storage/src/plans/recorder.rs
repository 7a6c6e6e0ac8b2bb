//! Records what a connection runs, call by call.

use std::sync::Arc;

use diesel::connection::{Instrumentation, InstrumentationEvent};
use parking_lot::Mutex;

/// What one call of a query ran.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The name of the query, and what is particular about the call after a dot.
    pub(crate) name: String,
    /// The statements in the order of their first runs, each once.
    pub(crate) statements: Vec<String>,
    /// Their plans: on PostgreSQL one for each run, as the database reports them.
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
    /// A call begins.
    pub(crate) fn begin(&self, name: &str) {
        let mut recorded = self.0.lock();
        recorded.is_open = true;
        recorded.calls.push(Call {
            name: name.to_owned(),
            statements: Vec::new(),
            plans: Vec::new(),
        });
    }

    /// The call ends: statements are of no call until the next one begins. Plans may still come.
    pub(crate) fn end(&self) {
        self.0.lock().is_open = false;
    }

    /// Notes the plan of a statement of the last call.
    pub(crate) fn note_plan(&self, plan: &str) {
        if let Some(call) = self.0.lock().calls.last_mut() {
            call.plans.push(plan.to_owned());
        }
    }

    /// For a connection whose statements are to be recorded.
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
