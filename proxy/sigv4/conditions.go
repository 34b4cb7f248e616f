package sigv4

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// policy is a parsed POST policy document.
type policy struct {
	expiration time.Time
	conditions []condition
	limits     limits
}

// condition constrains one form field.
type condition struct {
	field  string // lower case; a condition with "" fails for every form
	value  string
	prefix bool   // starts-with instead of eq
	text   string // as quoted in refusals
}

// parsePolicy parses a policy document. It must have an expiration and a list
// of conditions, and nothing else.
func parsePolicy(document []byte) (*policy, error) {
	members, err := policyMembers(document)
	if err != nil {
		return nil, err
	}
	p := &policy{limits: limits{max: -1}}
	expires, given := members["expiration"]
	if !given {
		return nil, errPolicyDocument("Policy missing expiration.")
	}
	text, ok := jsonString(expires)
	if !ok {
		return nil, errPolicyDocument("Invalid JSON.")
	}
	if p.expiration, err = time.Parse(time.RFC3339, text); err != nil {
		return nil, errPolicyDocument("Invalid 'expiration' value: '" + text + "'")
	}
	conditions, given := members["conditions"]
	if !given {
		return nil, errPolicyDocument("Policy missing conditions.")
	}
	var list []json.RawMessage
	if err := json.Unmarshal(conditions, &list); err != nil || list == nil {
		return nil, errPolicyDocument("Invalid 'conditions' value: must be a List.")
	}
	for _, message := range list {
		if err := p.add(message); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// policyMembers splits a document into its members.
func policyMembers(document []byte) (map[string]json.RawMessage, error) {
	if len(bytes.TrimSpace(document)) == 0 {
		return nil, errPolicyDocument("Expecting '{' but found End-of-Input")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(document, &members); err != nil || members == nil {
		return nil, errPolicyDocument("Invalid JSON.")
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if name != "expiration" && name != "conditions" {
			return nil, errPolicyDocument(fmt.Sprintf("Unexpected: %q", name))
		}
	}
	return members, nil
}

// add parses one condition: {"field": "value"}, ["eq", "$field", "value"],
// ["starts-with", "$field", "prefix"] or ["content-length-range", min, max].
func (p *policy) add(message json.RawMessage) error {
	var simple map[string]json.RawMessage
	if err := json.Unmarshal(message, &simple); err == nil && simple != nil {
		return p.addSimple(simple)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(message, &list); err != nil || list == nil {
		return errPolicyDocument("Invalid condition test: must be a List or Object.")
	}
	if len(list) == 0 {
		return errPolicyDocument("Invalid Condition: missing operation identifier.")
	}
	name, ok := jsonString(list[0])
	operation := strings.ToLower(name)
	switch {
	case !ok:
		return errPolicyDocument("Invalid JSON.")
	case operation != "content-length-range" && operation != "eq" && operation != "starts-with":
		return errPolicyDocument("Invalid Condition: unknown operation '" + name + "'.")
	case len(list) != 3:
		return errPolicyDocument("Invalid " + name + ": wrong number of arguments.")
	case operation == "content-length-range":
		return p.addRange(list[1], list[2])
	}
	field, fieldOK := jsonString(list[1])
	value, valueOK := jsonString(list[2])
	if !fieldOK || !valueOK {
		return errPolicyDocument("Invalid JSON.")
	}
	c := condition{value: value, prefix: operation == "starts-with", text: fmt.Sprintf("[%q, %q, %q]", name, field, value)}
	if name, isField := strings.CutPrefix(field, "$"); isField {
		c.field = strings.ToLower(name)
	}
	p.conditions = append(p.conditions, c)
	return nil
}

// addSimple adds the condition {"field": "value"}.
func (p *policy) addSimple(simple map[string]json.RawMessage) error {
	if len(simple) != 1 {
		return errPolicyDocument("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
	}
	for field, message := range simple {
		value, ok := jsonString(message)
		if !ok {
			return errPolicyDocument("Invalid Simple-Condition: value must be a string.")
		}
		p.conditions = append(p.conditions, condition{
			field: strings.ToLower(field), value: value, text: fmt.Sprintf(`["eq", "$%s", %q]`, field, value),
		})
	}
	return nil
}

// addRange narrows the allowed size of the file, in bytes.
func (p *policy) addRange(low, high json.RawMessage) error {
	least, lowOK := jsonSize(low)
	most, highOK := jsonSize(high)
	if !lowOK || !highOK {
		return errPolicyDocument("Invalid JSON.")
	}
	if least > most {
		return errPolicyDocument("Invalid content-length-range: the smallest size is over the largest.")
	}
	p.limits.min = max(p.limits.min, least)
	if p.limits.max < 0 || most < p.limits.max {
		p.limits.max = most
	}
	return nil
}

func jsonString(message json.RawMessage) (s string, ok bool) {
	var value *string
	if json.Unmarshal(message, &value) != nil || value == nil {
		return "", false
	}
	return *value, true
}

// jsonSize parses a size, which policies write as a number or a string.
func jsonSize(message json.RawMessage) (size int64, ok bool) {
	digits, ok := jsonString(message)
	if !ok {
		digits = string(message)
	}
	value, err := strconv.ParseUint(digits, 10, 63)
	return int64(value), err == nil
}

// check evaluates all conditions on the form's values. It refuses values that
// no condition covers.
func (p *policy) check(values map[string]string) error {
	covered := map[string]bool{}
	for _, c := range p.conditions {
		covered[c.field] = true
		value, given := values[c.field]
		if c.field == "" || !given || !c.holds(value) {
			return errPolicyFailed("Policy Condition failed: " + c.text)
		}
	}
	var extra []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !covered[name] {
			extra = append(extra, name)
		}
	}
	if len(extra) > 0 {
		return errPolicyFailed("Extra input fields: " + strings.Join(extra, ", "))
	}
	return nil
}

// holds evaluates the condition. A Content-Type with commas is a list, of which
// each member must begin with the prefix.
func (c condition) holds(value string) bool {
	if !c.prefix {
		return value == c.value
	}
	if c.field == "content-type" && strings.Contains(value, ",") {
		for member := range strings.SplitSeq(value, ",") {
			if !strings.HasPrefix(strings.TrimSpace(member), c.value) {
				return false
			}
		}
		return true
	}
	return strings.HasPrefix(value, c.value)
}
