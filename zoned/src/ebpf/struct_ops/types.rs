//! The BTF that is loaded for programs: as much as the kernel insists on.
//!
//! A map of operations must come with some BTF, and a program of several functions must say where each begins and that it
//! is a function. What their arguments are is never asked: the verifier follows the calls.

/// Id of the one function type in [`blob`]: `static int f(void)`.
pub(super) const FUNCTION: u32 = 3;

/// `int`, a prototype that returns it, and a static function of it.
pub(super) fn blob() -> Vec<u8> {
    const MAGIC: u32 = 0xeb9f | 1 << 16;
    const HEADER: u32 = 24;
    const STRINGS: &[u8] = b"\0int\0f\0";
    const INT: u32 = 1 << 24;
    const FUNC_PROTO: u32 = 13 << 24;
    const FUNC: u32 = 12 << 24;
    let types: [u32; 10] = [
        // Name, kind, size; signed, 32 bits.
        1,
        INT,
        4,
        1 << 24 | 32,
        // No name, no arguments, returns type 1.
        0,
        FUNC_PROTO,
        1,
        // Name, kind with linkage 0 (static), of type 2.
        5,
        FUNC,
        2,
    ];
    let bytes = size_of_val(&types) as u32;
    let header = [MAGIC, HEADER, 0, bytes, bytes, STRINGS.len() as u32];
    let words = header.into_iter().chain(types);
    words.flat_map(u32::to_ne_bytes).chain(STRINGS.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::btf::Btf;

    #[test]
    fn the_function_is_where_it_is_said_to_be() {
        let btf = Btf::parse(super::blob()).unwrap();
        assert_eq!(btf.function("f").unwrap(), super::FUNCTION);
    }
}
