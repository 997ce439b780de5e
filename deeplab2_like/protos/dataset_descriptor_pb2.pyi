from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassDescriptor(_message.Message):
    __slots__ = ("name", "is_thing", "category_id", "color")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_THING_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_ID_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_thing: bool
    category_id: int
    color: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., is_thing: bool = ..., category_id: _Optional[int] = ..., color: _Optional[_Iterable[int]] = ...) -> None: ...

class DatasetDescriptor(_message.Message):
    __slots__ = ("name", "alias", "description", "ignore_label", "label_divisor", "classes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_DIVISOR_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: _containers.RepeatedScalarFieldContainer[str]
    description: str
    ignore_label: int
    label_divisor: int
    classes: _containers.RepeatedCompositeFieldContainer[ClassDescriptor]
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[_Iterable[str]] = ..., description: _Optional[str] = ..., ignore_label: _Optional[int] = ..., label_divisor: _Optional[int] = ..., classes: _Optional[_Iterable[_Union[ClassDescriptor, _Mapping]]] = ...) -> None: ...
