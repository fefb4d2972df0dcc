//! Tasks that a registry has of its own, where there is no server to have them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::Registry;

/// How each is ended, once that is known, by its number.
#[derive(Default)]
pub(super) struct Tasks {
    handles: HashMap<u64, Option<AbortHandle>>,
    last: u64,
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    fn add(&mut self) -> u64 {
        self.last += 1;
        self.handles.insert(self.last, None);
        self.last
    }
}

impl Registry {
    /// Runs something that is waited for, and ended by [`abort_tasks`](Self::abort_tasks).
    pub(crate) fn spawn(self: &Arc<Self>, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        let number = self.members().tasks.add();
        let task = Task { registry: self.clone(), number };
        let spawned = runtime.spawn(async move {
            let _task = task;
            work.await;
        });
        // Unless it has ended already.
        if let Some(handle) = self.members().tasks.handles.get_mut(&number) {
            *handle = Some(spawned.abort_handle());
        }
    }

    /// Ends the tasks that it has [spawned](Self::spawn), and waits until they have ended.
    #[cfg(feature = "hyper")]
    pub(crate) async fn abort_tasks(&self) {
        let mut aborted: Vec<_> = {
            let members = self.members();
            let tasks = members.tasks.handles.iter();
            tasks.filter_map(|(number, task)| Some((*number, task.clone()?))).collect()
        };
        for (_, task) in &aborted {
            task.abort();
        }
        loop {
            aborted.retain(|(number, _)| self.members().tasks.handles.contains_key(number));
            if aborted.is_empty() {
                return;
            }
            self.gone().await;
        }
    }

    /// Wakes whoever else waits for the end.
    #[cfg(feature = "hyper")]
    pub(crate) fn pass_on(&self) {
        self.gone.notify_one();
    }
}

/// A task's place among the registry's.
struct Task {
    registry: Arc<Registry>,
    number: u64,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.registry.members().tasks.handles.remove(&self.number);
        if !self.registry.is_running() {
            self.registry.gone.notify_one();
        }
    }
}
