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

    fn cut(&mut self, to: usize) {
        if self.text.chars().count() > to {
            self.text = self.text.chars().take(to.saturating_sub(1)).chain(['…']).collect();
        }
    }
}

/// A column's head and side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    head: &'static str,
    right: bool,
    least: u16,
    spare: u8,
    gives: Option<u16>,
    cut: Option<u16>,
}

impl Column {
    /// Never narrower than this, so that tables printed one after the other line up.
    pub(crate) fn least(self, least: u16) -> Self {
        Self { least, ..self }
    }

    /// A heading's width even without headings, for tables that go on.
    fn needs(self) -> u16 {
        self.least.max(u16::try_from(self.head.len()).unwrap_or_default())
    }

    /// Left out where the terminal is narrow, the highest rank first; 0 stays.
    pub(crate) fn spare(self, spare: u8) -> Self {
        Self { spare, ..self }
    }

    /// Its fields are cut to this width before columns are left out.
    pub(crate) fn gives(self, to: u16) -> Self {
        Self { gives: Some(to), ..self }
    }

    /// Its fields may be cut to this width, where leaving columns out is not enough.
    pub(crate) fn cut(self, to: u16) -> Self {
        Self { cut: Some(to), ..self }
    }
}

/// A column of words.
pub(crate) fn left(head: &'static str) -> Column {
    Column { head, right: false, least: 0, spare: 0, gives: None, cut: None }
}

/// A column of numbers.
pub(crate) fn right(head: &'static str) -> Column {
    Column { head, right: true, least: 0, spare: 0, gives: None, cut: None }
}

/// How to print a table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// With colours.
    pub(crate) colour: bool,
    /// Without the line of heads.
    pub(crate) headless: bool,
    /// Made to fit this width, in columns; as wide as it comes if none.
    pub(crate) width: Option<u16>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Field>>,
    fitting: Fitting,
}

/// How a table is made to fit a narrow terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fitting {
    /// A line a row: columns are left out and fields cut.
    #[default]
    Lines,
    /// The same, decided by the headings alone, so that what is printed later has the same columns.
    Steady,
    /// Fields are sentences, and are broken.
    Prose,
}

/// Columns between columns.
const GAP: u16 = 2;

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new(), fitting: Fitting::Lines }
    }

    /// Printed again and again under one heading.
    pub(crate) fn steady(self) -> Self {
        Self { fitting: Fitting::Steady, ..self }
    }

    /// With sentences in it, which are broken to the terminal's width.
    pub(crate) fn prose(self) -> Self {
        Self { fitting: Fitting::Prose, ..self }
    }

    /// One row more, a field for each column.
    pub(crate) fn row(&mut self, fields: Vec<Field>) {
        self.rows.push(fields);
    }

    /// As text, without blanks at the ends of lines.
    pub(crate) fn render(&self, look: Look) -> String {
        match look.width {
            Some(width) if self.fitting != Fitting::Prose => self.fitted(width).drawn(look, None),
            width => self.drawn(look, width),
        }
    }

    /// What of it fits a terminal, a line a row.
    fn fitted(&self, width: u16) -> Table {
        let mut table = self.clone();
        while table.excess(width, |column| column.gives) > 0 {
            let spare = |i: &usize| table.columns[*i].spare;
            let Some(last) = (0..table.columns.len()).filter(|i| spare(i) > 0).max_by_key(spare) else {
                break;
            };
            table.columns.remove(last);
            for row in &mut table.rows {
                row.remove(last);
            }
        }
        table.cut(width, |column| column.gives);
        table.cut(width, |column| column.cut);
        table
    }

    /// Cuts fields as far as it is too wide, no column below its least.
    fn cut(&mut self, width: u16, least: impl Fn(&Column) -> Option<u16>) {
        for i in (0..self.columns.len()).rev() {
            let (excess, now) = (self.excess(width, |_| None), self.width_of(i));
            if let Some(least) = least(&self.columns[i]).filter(|_| excess > 0) {
                let to = usize::from(now.saturating_sub(excess).max(least));
                self.rows.iter_mut().for_each(|row| row[i].cut(to));
            }
        }
    }

    /// By how much it is too wide, although columns were as narrow as they can be made.
    fn excess(&self, width: u16, least: impl Fn(&Column) -> Option<u16>) -> u16 {
        let widths = self.columns.iter().enumerate().map(|(i, column)| {
            let width = self.width_of(i);
            least(column).map_or(width, |least| least.min(width)).saturating_add(GAP)
        });
        widths.fold(0, u16::saturating_add).saturating_sub(GAP).saturating_sub(width)
    }

    fn width_of(&self, i: usize) -> u16 {
        let widest = self.rows.iter().map(|row| row[i].text.chars().count()).max().unwrap_or_default();
        let widest = if self.fitting == Fitting::Steady { 0 } else { widest };
        self.columns[i].needs().max(u16::try_from(widest).unwrap_or(u16::MAX))
    }

    /// Drawn; with a width, by breaking fields.
    fn drawn(&self, look: Look, width: Option<u16>) -> String {
        let mut table = Comfy::new();
        table.load_style(presets::NOTHING);
        match width {
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
                drawn.set_padding((0, GAP));
                let side = if column.right { CellAlignment::Right } else { CellAlignment::Left };
                drawn.set_cell_alignment(side);
                // The padding counts as well.
                drawn.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(column.needs() + GAP)));
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
    fn narrow_terminals_get_fewer_columns_and_then_shorter_fields() {
        let columns = vec![left("NAME").cut(6), left("STATE"), right("PID").spare(1), left("OS").spare(2)];
        let mut table = Table::new(columns);
        table.row(["a-long-name", "installed", "4711", "Debian"].map(Field::new).to_vec());
        let heads = |width| {
            let text = table.render(Look { width: Some(width), ..Look::default() });
            let heads: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
            (heads.join(" "), text.lines().nth(1).unwrap().to_owned())
        };
        assert_eq!(heads(36).0, "NAME STATE PID OS");
        assert_eq!(heads(35).0, "NAME STATE PID");
        assert_eq!(heads(27), ("NAME STATE".into(), "a-long-name  installed".into()));
        assert_eq!(heads(20), ("NAME STATE".into(), "a-long-n…  installed".into()));
        assert_eq!(heads(5).1, "a-lon…  installed");
        let mut table = Table::new(vec![left("NAME"), left("PID").spare(1), left("REASON").gives(10)]);
        table.row(["web", "4711", "a reason of some length"].map(Field::new).to_vec());
        let cut = |width| table.render(Look { width: Some(width), headless: true, ..Look::default() });
        assert_eq!(cut(24), "web   4711  a reason of…");
        assert_eq!(cut(21), "web   a reason of so…");
    }

    #[test]
    fn wide_text_is_broken_to_the_terminal() {
        let mut table = Table::new(vec![left("SUBJECT"), left("MEANING")]).prose();
        table.row(vec![Field::new("cgroup"), Field::new("word ".repeat(40))]);
        let text = table.render(Look { width: Some(60), ..Look::default() });
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= 60), "{text}");
    }
}
