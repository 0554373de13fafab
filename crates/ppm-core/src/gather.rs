//! Maps and sets out of iterators, without a sort for each of them.

/// `gather` instead of `collect`, for what is kept in order.
pub trait Gather: Iterator {
    /// The same map or set as `collect` would make, filled one by one.
    ///
    /// `collect` sorts first and then builds the tree at once, and each type of entry brings a sort and a builder of its own into
    /// the program: some 6 KB, for lists that have a handful of entries as a rule.
    fn gather<C: Default + Extend<Self::Item>>(self) -> C
    where
        Self: Sized,
    {
        let mut all = C::default();
        all.extend(self);
        all
    }
}

impl<I: Iterator> Gather for I {}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn what_is_gathered_is_what_would_be_collected() {
        let entries = [(3, 'c'), (1, 'a'), (3, 'd'), (2, 'b')];
        let map: BTreeMap<i32, char> = entries.into_iter().gather();
        assert_eq!(map, entries.into_iter().collect(), "the last of equal keys counts");
        let set: BTreeSet<i32> = entries.iter().map(|(key, _)| *key).gather();
        assert_eq!(set, BTreeSet::from([1, 2, 3]));
    }
}
