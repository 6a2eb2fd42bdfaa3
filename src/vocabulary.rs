//! Enums with one word for each value. The word is used, for example, in metrics, logs, JSON or messages between replicas.

/// Declares an enum with a word for each value. `ALL` contains the values in the order of declaration, and `as_str`
/// returns a value's word.
macro_rules! vocabulary {
    (
        $(#[$attribute:meta])*
        $vis:vis enum $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)+ }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$doc])* $value,)+ }

        impl $name {
            /// Every value.
            $vis const ALL: [Self; [$($word),+].len()] = [$(Self::$value),+];

            /// Returns the value's word.
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }
    };
}
