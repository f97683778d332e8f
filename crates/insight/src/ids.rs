//! Values by ids: looked up once a row, so in a list where ids are small, as they are.

use std::collections::BTreeMap;

/// Ids below this have a place in the list.
const SMALL: usize = 1 << 16;

/// A value of each of some ids.
#[derive(Debug, Clone)]
pub(crate) struct ById<T> {
    small: Vec<Option<T>>,
    /// What only a dataset that is not ours has.
    others: BTreeMap<i32, T>,
}

impl<T> Default for ById<T> {
    fn default() -> Self {
        ById { small: Vec::new(), others: BTreeMap::new() }
    }
}

impl<T> ById<T> {
    fn place(id: i32) -> Option<usize> {
        usize::try_from(id).ok().filter(|place| *place < SMALL)
    }

    /// The value of an id, made where there is none.
    #[inline]
    pub(crate) fn or_insert_with(&mut self, id: i32, new: impl FnOnce() -> T) -> &mut T {
        let Some(place) = Self::place(id) else { return self.others.entry(id).or_insert_with(new) };
        if place >= self.small.len() {
            self.small.resize_with(place + 1, || None);
        }
        self.small[place].get_or_insert_with(new)
    }

    /// The value of an id, if there is one.
    #[inline]
    pub(crate) fn get(&self, id: i32) -> Option<&T> {
        match Self::place(id) {
            Some(place) => self.small.get(place)?.as_ref(),
            None => self.others.get(&id),
        }
    }

    /// All, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &T)> {
        let negative = self.others.range(..0);
        let small = self.small.iter().enumerate().filter_map(|(id, value)| Some((id as i32, value.as_ref()?)));
        negative
            .map(|(id, value)| (*id, value))
            .chain(small)
            .chain(self.others.range(0..).map(|(id, value)| (*id, value)))
    }

    /// All values, by id.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }
}

impl<T: Default> ById<T> {
    /// The value of an id, made where there is none.
    #[inline]
    pub(crate) fn or_default(&mut self, id: i32) -> &mut T {
        self.or_insert_with(id, T::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map() {
        let (mut ids, mut map) = (ById::default(), BTreeMap::new());
        for id in [5, 0, -3, 65_535, 65_536, i32::MAX, i32::MIN, 5, -3] {
            *ids.or_default(id) += 1;
            *map.entry(id).or_default() += 1;
        }
        assert_eq!(
            ids.iter().map(|(id, n)| (id, *n)).collect::<Vec<(i32, i32)>>(),
            map.into_iter().collect::<Vec<_>>()
        );
        assert_eq!([5, 6, -3, i32::MAX].map(|id| ids.get(id).copied()), [Some(2), None, Some(2), Some(1)]);
    }
}
