//! Aligned columns without borders, as `zoneadm list -v` prints them.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table as Comfy, Width,
    presets,
};

use super::escape;

/// How a field looks where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// To be looked at.
    Warn,
    /// Broken.
    Bad,
}

/// A field of a table. Its text is escaped when it is made.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    text: String,
    tone: Tone,
}

impl Field {
    /// A field; an empty text becomes `-`, so that columns can be cut by programs.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        let text = if text.as_ref().is_empty() { "-".to_owned() } else { escape::line(text.as_ref()) };
        Self { text, tone: Tone::Plain }
    }

    /// A field of which there may be none.
    pub(crate) fn maybe(value: Option<impl ToString>) -> Self {
        Self::new(value.map(|value| value.to_string()).unwrap_or_default())
    }

    /// With a tone.
    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// A column's head and side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    head: &'static str,
    right: bool,
    least: u16,
}

impl Column {
    /// Never narrower than this, so that tables printed one after the other line up.
    pub(crate) fn least(self, least: u16) -> Self {
        Self { least, ..self }
    }
}

/// A column of words.
pub(crate) fn left(head: &'static str) -> Column {
    Column { head, right: false, least: 0 }
}

/// A column of numbers.
pub(crate) fn right(head: &'static str) -> Column {
    Column { head, right: true, least: 0 }
}

/// How to print a table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// With colours.
    pub(crate) colour: bool,
    /// Without the line of heads.
    pub(crate) headless: bool,
    /// Broken to this width, in columns; as wide as it comes if none.
    pub(crate) width: Option<u16>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Field>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// One row more, a field for each column.
    pub(crate) fn row(&mut self, fields: Vec<Field>) {
        self.rows.push(fields);
    }

    /// As text, without blanks at the ends of lines.
    pub(crate) fn render(&self, look: Look) -> String {
        let mut table = Comfy::new();
        table.load_style(presets::NOTHING);
        match look.width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if look.colour {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        if !look.headless {
            table.set_header(
                self.columns.iter().map(|column| Cell::new(column.head).add_attribute(Attribute::Bold)),
            );
        }
        for row in &self.rows {
            table.add_row(row.iter().map(cell));
        }
        for (i, column) in self.columns.iter().enumerate() {
            if let Some(drawn) = table.column_mut(i) {
                drawn.set_padding((0, 2));
                let side = if column.right { CellAlignment::Right } else { CellAlignment::Left };
                drawn.set_cell_alignment(side);
                // A heading's width even without headings, for tables that go on; the padding counts as well.
                let least = column.least.max(u16::try_from(column.head.len()).unwrap_or_default());
                drawn.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least + 2)));
            }
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

fn cell(field: &Field) -> Cell {
    let cell = Cell::new(&field.text);
    match field.tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Warn => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
    }
}

/// Width of the terminal at stdout, if that is one.
pub(crate) fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(vec![left("NAME"), left("STATE"), right("PID")]);
        table.row(vec![Field::new("web"), Field::new("running").tone(Tone::Good), Field::maybe(Some(4711))]);
        table.row(vec![Field::new("a\x1b[0m"), Field::new("installed"), Field::maybe(None::<u32>)]);
        table
    }

    #[test]
    fn columns_are_aligned_and_escaped() {
        let text = table().render(Look::default());
        assert_eq!(
            text,
            "NAME        STATE       PID\nweb         running    4711\na\\u{1b}[0m  installed     -"
        );
        let headless = table().render(Look { headless: true, ..Look::default() });
        assert!(!headless.contains("NAME") && headless.starts_with("web"), "{headless}");
    }

    #[test]
    fn colour_only_when_asked_for() {
        assert!(!table().render(Look::default()).contains('\x1b'));
        assert!(table().render(Look { colour: true, ..Look::default() }).contains("\x1b["));
    }

    #[test]
    fn wide_text_is_broken_to_the_terminal() {
        let mut table = Table::new(vec![left("SUBJECT"), left("MEANING")]);
        table.row(vec![Field::new("cgroup"), Field::new("word ".repeat(40))]);
        let text = table.render(Look { width: Some(60), ..Look::default() });
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= 60), "{text}");
    }
}
