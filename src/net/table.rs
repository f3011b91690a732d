//! The flows of a session by what identifies them, in slots that are used again, with their timers.
//!
//! Pure. The table is bounded by whoever inserts; it knows nothing about what a flow is.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::policy::Protocol;

/// What tells one flow from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The guest's end.
    pub guest: SocketAddr,
    /// The other end, as the guest sees it.
    pub remote: SocketAddr,
}

/// Names one flow for as long as it lives; never means another one afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    slot: u32,
    generation: u32,
}

impl FlowId {
    /// The place in a table of slots, for whoever keeps something beside each flow.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// Flows in slots.
#[derive(Debug)]
pub struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    by_key: HashMap<Key, FlowId>,
    /// One for each slot with a timer. One that no flow wants any more would wake the loop for nothing, and a wait that
    /// ends before the kernel's own next tick costs microseconds in a virtual machine.
    timers: BTreeSet<(Instant, FlowId)>,
    dirty: Vec<FlowId>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    key: Option<Key>,
    value: Option<T>,
    dirty: bool,
    timer: Option<Instant>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            timers: BTreeSet::new(),
            dirty: Vec::new(),
        }
    }
}

impl<T> Table<T> {
    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The flow with that key.
    pub fn find(&self, key: &Key) -> Option<FlowId> {
        self.by_key.get(key).copied()
    }

    /// Adds a flow. A flow with the same key must have been removed.
    pub fn insert(&mut self, key: Key, value: T) -> FlowId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, key: None, value: None, dirty: false, timer: None });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.key = Some(key);
        entry.value = Some(value);
        entry.dirty = false;
        entry.timer = None;
        let id = FlowId { slot, generation: entry.generation };
        self.by_key.insert(key, id);
        id
    }

    /// Removes a flow.
    pub fn remove(&mut self, id: FlowId) -> Option<(Key, Option<T>)> {
        let entry = self.slots.get_mut(id.slot()).filter(|entry| entry.generation == id.generation)?;
        let key = entry.key.take()?;
        if let Some(at) = entry.timer.take() {
            self.timers.remove(&(at, id));
        }
        entry.generation = entry.generation.wrapping_add(1);
        let value = entry.value.take();
        self.by_key.remove(&key);
        self.free.push(id.slot);
        Some((key, value))
    }

    /// The flow with that id.
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut T> {
        self.slots.get_mut(id.slot()).filter(|entry| entry.generation == id.generation)?.value.as_mut()
    }

    /// Takes a flow out to work on it; its place is kept until [`Table::put`] or [`Table::remove`].
    pub fn take(&mut self, id: FlowId) -> Option<(Key, T)> {
        let entry = self.slots.get_mut(id.slot()).filter(|entry| entry.generation == id.generation)?;
        Some((entry.key?, entry.value.take()?))
    }

    /// Puts back what [`Table::take`] took.
    pub fn put(&mut self, id: FlowId, value: T) {
        if let Some(entry) = self.slots.get_mut(id.slot()).filter(|entry| entry.generation == id.generation) {
            entry.value = Some(value);
        }
    }

    /// Every flow's id.
    pub fn ids(&self) -> Vec<FlowId> {
        self.by_key.values().copied().collect()
    }

    /// The ids of the TCP flows to an address.
    pub fn ids_to(&self, address: IpAddr) -> Vec<FlowId> {
        let to = |key: &&Key| key.protocol == Protocol::Tcp && key.remote.ip() == address;
        self.by_key.iter().filter(|(key, _)| to(key)).map(|(_, id)| *id).collect()
    }

    /// Notes that a flow has something to do.
    pub fn mark(&mut self, id: FlowId) {
        if let Some(entry) = self.slots.get_mut(id.slot())
            && entry.generation == id.generation
            && !entry.dirty
        {
            entry.dirty = true;
            self.dirty.push(id);
        }
    }

    /// A flow that has something to do.
    pub fn next_marked(&mut self) -> Option<FlowId> {
        while let Some(id) = self.dirty.pop() {
            if let Some(entry) = self.slots.get_mut(id.slot())
                && entry.generation == id.generation
            {
                entry.dirty = false;
                return Some(id);
            }
        }
        None
    }

    /// Wakes a flow at `at`, or never, whatever it asked for before.
    pub fn schedule(&mut self, id: FlowId, at: Option<Instant>) {
        let Some(entry) = self.slots.get_mut(id.slot()).filter(|entry| entry.generation == id.generation)
        else {
            return;
        };
        if entry.timer == at {
            return;
        }
        if let Some(before) = std::mem::replace(&mut entry.timer, at) {
            self.timers.remove(&(before, id));
        }
        if let Some(at) = at {
            self.timers.insert((at, id));
        }
    }

    /// The next time a flow has to be woken.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Marks every flow whose time has come.
    pub fn wake(&mut self, now: Instant) {
        while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.schedule(id, None);
            self.mark(id);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(port: u16) -> Key {
        Key {
            protocol: Protocol::Tcp,
            guest: SocketAddr::from(([198, 18, 0, 2], port)),
            remote: SocketAddr::from(([198, 18, 1, 1], 443)),
        }
    }

    #[test]
    fn an_id_never_means_a_later_flow() {
        let mut table = Table::default();
        let first = table.insert(key(1), "first");
        table.remove(first).unwrap();
        let second = table.insert(key(1), "second");
        assert_eq!(first.slot(), second.slot());
        assert!(table.get_mut(first).is_none());
        assert!(table.remove(first).is_none());
        assert_eq!(table.get_mut(second), Some(&mut "second"));
    }

    #[test]
    fn a_taken_flow_keeps_its_place() {
        let mut table = Table::default();
        let id = table.insert(key(1), 7);
        let (_, value) = table.take(id).unwrap();
        assert!(table.find(&key(1)).is_some() && table.take(id).is_none());
        table.put(id, value);
        assert_eq!(table.get_mut(id), Some(&mut 7));
    }

    #[test]
    fn timers_wake_in_order_and_once() {
        let start = Instant::now();
        let mut table = Table::default();
        let (a, b) = (table.insert(key(1), ()), table.insert(key(2), ()));
        table.schedule(a, Some(start + Duration::from_secs(2)));
        table.schedule(b, Some(start + Duration::from_secs(3)));
        // Asked for again, earlier or later: only the last one counts.
        table.schedule(b, Some(start + Duration::from_secs(1)));
        table.schedule(a, Some(start + Duration::from_secs(4)));
        assert_eq!(table.next_timer(), Some(start + Duration::from_secs(1)));
        table.wake(start + Duration::from_secs(1));
        assert_eq!((table.next_marked(), table.next_marked()), (Some(b), None));
        table.wake(start + Duration::from_secs(3));
        assert_eq!(table.next_marked(), None);
        table.wake(start + Duration::from_secs(5));
        assert_eq!((table.next_marked(), table.next_marked()), (Some(a), None));
        table.schedule(a, Some(start + Duration::from_secs(6)));
        table.schedule(a, None);
        assert_eq!(table.next_timer(), None);
    }

    #[test]
    fn a_removed_flow_is_neither_marked_nor_woken() {
        let start = Instant::now();
        let mut table = Table::default();
        let id = table.insert(key(1), ());
        table.mark(id);
        table.schedule(id, Some(start));
        table.remove(id).unwrap();
        let _next = table.insert(key(2), ());
        assert_eq!(table.next_timer(), None);
        table.wake(start + Duration::from_secs(1));
        assert_eq!(table.next_marked(), None);
    }
}
