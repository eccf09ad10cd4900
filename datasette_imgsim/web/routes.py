"""Which URL leads to which view."""

from . import gallery, pictures, similar, upload

_TABLE = r"^/(?P<database>[^/]+)/(?P<table>[^/]+)/-/imgsim"
_ID = r"(?P<id>[^/.]+)"
_FORMAT = r"(?P<format>\.json)?$"

ROUTES = [
    (_TABLE + _FORMAT, gallery.gallery),
    (_TABLE + rf"/similar/{_ID}" + _FORMAT, similar.similar),
    (_TABLE + r"/search" + _FORMAT, upload.search),
    (_TABLE + rf"/thumbnail/{_ID}\.jpg$", pictures.thumbnail),
    (_TABLE + rf"/large/{_ID}\.jpg$", pictures.large),
]
