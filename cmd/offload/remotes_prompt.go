package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"offload/remotes"
)

// prompter asks a person. It writes to stderr, so that stdout stays a result.
type prompter struct {
	a     *app
	lines *bufio.Reader
}

func (a *app) newPrompter() *prompter { return &prompter{a: a, lines: bufio.NewReader(a.in)} }

// asks tells whether there is a person to ask.
func (p *prompter) asks() bool {
	f, isFile := p.a.in.(*os.File)
	return p.a.terminal && (!isFile || isTerminal(f))
}

// line asks for a line of text.
func (p *prompter) line(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(p.a.err, prompt)
	return p.wait(ctx, func() (string, error) { return p.lines.ReadString('\n') })
}

// secret asks for a line that isn't shown while it is typed.
func (p *prompter) secret(ctx context.Context, prompt string) (string, error) {
	f, isFile := p.a.in.(*os.File)
	if !isFile {
		return p.line(ctx, prompt)
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	// A reading that is given up leaves the terminal mute: it is put back as it was. If that fails, so be it.
	defer func() { _ = term.Restore(fd, before) }()
	fmt.Fprint(p.a.err, prompt)
	text, err := p.wait(ctx, func() (string, error) {
		raw, err := term.ReadPassword(fd)
		return string(raw), err
	})
	fmt.Fprintln(p.a.err)
	return text, err
}

// wait reads until the context ends. What still reads then ends with the process.
func (p *prompter) wait(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		text := strings.TrimRight(a.text, "\r\n")
		if a.err != nil && (!errors.Is(a.err, io.EOF) || text == "") {
			return "", usageError("answer the question, or give the answer by a flag", "there is no answer: the input has ended")
		}
		return text, nil
	case <-ctx.Done():
		fmt.Fprintln(p.a.err)
		return "", context.Cause(ctx)
	}
}

// yes asks a question that "y" answers in the affirmative.
func (p *prompter) yes(ctx context.Context, question string) (bool, error) {
	text, err := p.line(ctx, question+" [y/N] ")
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(text))), err
}

// needed asks until something is answered.
func (p *prompter) needed(ctx context.Context, ask func(context.Context, string) (string, error), prompt string) (string, error) {
	for {
		text, err := ask(ctx, prompt)
		if err != nil || text != "" {
			return text, err
		}
	}
}

// question asks what a kind of remote wants to know, until the answer is one that it can take.
func (p *prompter) question(ctx context.Context, q *remotes.Question) (string, error) {
	help, prompt := q.Words()
	fmt.Fprintf(p.a.err, "\n%s\n", printableLines(help))
	for i, choice := range q.Choices {
		if q.IsPhone() || q.IsYesNo() { // the value says nothing to a person
			fmt.Fprintf(p.a.err, "  %2d  %s\n", i+1, printable(firstLine(choice.Help)))
			continue
		}
		fmt.Fprintf(p.a.err, "  %2d  %s  %s\n", i+1, printable(choice.Value), printable(firstLine(choice.Help)))
	}
	if q.Default != "" {
		prompt += fmt.Sprintf(" [%s]", printable(shownDefault(q)))
	} else if !q.Required {
		prompt += " (may be empty)"
	}
	ask := p.line
	if q.Secret || q.IsToken() {
		ask = p.secret
	}
	for {
		text, err := ask(ctx, prompt+": ")
		if err != nil {
			return "", err
		}
		answer, problem := q.Pick(text)
		if problem == "" {
			return answer, nil
		}
		p.a.note("%s", problem)
	}
}

// shownDefault is the default as a person would type it: the number of a choice whose value isn't shown.
func shownDefault(q *remotes.Question) string {
	for i, choice := range q.Choices {
		if choice.Value == q.Default && (q.IsPhone() || q.IsYesNo()) {
			return strconv.Itoa(i + 1)
		}
	}
	return q.Default
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// printableLines is printable for texts of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	return strings.Join(lines, "\n")
}
