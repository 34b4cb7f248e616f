package sigv4

import (
	"bytes"
	"encoding/json"
	"io"
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
	field  string // lower case
	value  string
	prefix bool // starts-with, else equal
}

// parsePolicy parses a policy document: an expiration and a list of conditions, both required, and nothing else.
func parsePolicy(document []byte) (*policy, error) {
	var raw struct {
		Expiration *string            `json:"expiration"`
		Conditions *[]json.RawMessage `json:"conditions"`
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&raw); err != nil {
		return nil, errPolicyDocument("Invalid JSON.")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errPolicyDocument("Invalid JSON.")
	}
	switch {
	case raw.Expiration == nil:
		return nil, errPolicyDocument("Policy missing expiration.")
	case raw.Conditions == nil:
		return nil, errPolicyDocument("Policy missing conditions.")
	}
	expiration, err := time.Parse(time.RFC3339, *raw.Expiration)
	if err != nil {
		return nil, errPolicyDocument("Invalid 'expiration' value.")
	}
	p := &policy{expiration: expiration, limits: limits{max: -1}}
	for _, message := range *raw.Conditions {
		if err := p.add(message); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add parses one condition: {"field": "value"}, ["eq", "$field", "value"], ["starts-with", "$field", "prefix"] or
// ["content-length-range", min, max].
func (p *policy) add(message json.RawMessage) error {
	var simple map[string]string
	if err := json.Unmarshal(message, &simple); err == nil && simple != nil {
		if len(simple) != 1 {
			return errPolicyDocument("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
		}
		for field, value := range simple {
			p.conditions = append(p.conditions, condition{field: strings.ToLower(field), value: value})
		}
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(message, &list); err != nil || len(list) == 0 {
		return errPolicyDocument("Invalid condition test: must be a List or Object.")
	}
	operation, ok := jsonString(list[0])
	operation = strings.ToLower(operation)
	switch {
	case !ok:
		return errPolicyDocument("Invalid Condition: missing operation identifier.")
	case len(list) != 3:
		return errPolicyDocument("Invalid Condition: wrong number of arguments.")
	case operation == "content-length-range":
		return p.addRange(list[1], list[2])
	case operation != "eq" && operation != "starts-with":
		return errPolicyDocument("Invalid Condition: unknown operation.")
	}
	name, nameOK := jsonString(list[1])
	value, valueOK := jsonString(list[2])
	field, isField := strings.CutPrefix(name, "$")
	if !nameOK || !valueOK || !isField || field == "" {
		return errPolicyDocument("Invalid Condition: expecting a field name that begins with '$' and a value.")
	}
	p.conditions = append(p.conditions,
		condition{field: strings.ToLower(field), value: value, prefix: operation == "starts-with"})
	return nil
}

// addRange narrows the allowed size of the file.
func (p *policy) addRange(low, high json.RawMessage) error {
	least, lowOK := jsonSize(low)
	most, highOK := jsonSize(high)
	if !lowOK || !highOK || least > most {
		return errPolicyDocument("Invalid content-length-range: expecting two sizes.")
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

// jsonSize reads a size, which policies write as a number or as a string.
func jsonSize(message json.RawMessage) (size int64, ok bool) {
	digits, ok := jsonString(message)
	if !ok {
		digits = string(message)
	}
	value, err := strconv.ParseUint(digits, 10, 63)
	return int64(value), err == nil
}

// check evaluates all conditions on the form's values, and refuses values that no condition covers.
func (p *policy) check(values map[string]string) error {
	covered := map[string]bool{}
	for _, c := range p.conditions {
		covered[c.field] = true
		value, given := values[c.field]
		if !given || !c.holds(value) {
			return errPolicyFailed("Policy Condition failed.")
		}
	}
	for name := range values {
		if !covered[name] {
			return errPolicyFailed("Extra input fields.")
		}
	}
	return nil
}

// holds evaluates the condition. A Content-Type with commas is a list, and each member must begin with the prefix.
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
